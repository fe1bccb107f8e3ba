"""Layers of which every rater has their own copy, kept as one array with the rater first."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, 'b s h w c']


class StackedConv(nn.Module):
  """A 3x3 convolution with the weights of one rater, or of a mixture of raters, for each map.

  A row of ``style`` [r] weighs the raters' kernels, so a one-hot row is that rater's layer; styles
  are the same for all images [s r], or each image has its own [b s r]. Grouped convolutions, which
  stacked kernels would become, are an order of magnitude slower on CPU. Instead own styles are one
  batched matrix product over 3x3 neighborhoods; common ones are convolved one after the other, with
  the gradient of that product (in reverse mode alone).
  """

  num_raters: int
  width: int
  dtype: Any = None

  @nn.compact
  def __call__(  # noqa: D102
    self, x: Maps, style: Float[Array, '*b s r']
  ) -> Float[Array, 'b s h w c2']:
    shape = (self.num_raters, 9 * x.shape[-1], self.width)
    kernel = self.param('kernel', nn.initializers.lecun_normal(batch_axis=0), shape)
    bias = self.param('bias', nn.initializers.zeros, (self.num_raters, self.width))
    dtype = self.dtype or x.dtype
    kernel = jnp.einsum('...sr,rpo->...spo', style, kernel).astype(dtype)
    bias = jnp.einsum('...sr,ro->...so', style, bias).astype(dtype)
    convolve = _one_by_one if style.ndim == 2 else _product
    return convolve(x.astype(dtype), kernel) + bias[..., None, None, :]


def _product(x: Maps, kernel: Float[Array, '*b s c9 o']) -> Float[Array, 'b s h w o']:
  """All convolutions as one matrix product."""
  subscripts = 'bshwp,spo->bshwo' if kernel.ndim == 3 else 'bshwp,bspo->bshwo'
  return jnp.einsum(subscripts, _neighborhoods(x), kernel)


@jax.custom_vjp
def _one_by_one(x: Maps, kernel: Float[Array, 's c9 o']) -> Float[Array, 'b s h w o']:
  """The same for common kernels, without nine copies of ``x``, which cost more than the work."""

  def convolve(pair):
    maps, flat = pair
    form = flat.reshape(3, 3, -1, flat.shape[-1])
    axes = ('NHWC', 'HWIO', 'NHWC')
    return jax.lax.conv_general_dilated(maps, form, (1, 1), 'SAME', dimension_numbers=axes)

  return jnp.moveaxis(jax.lax.map(convolve, (jnp.moveaxis(x, 1, 0), kernel)), 0, 1)


def _forward(x, kernel):
  return _one_by_one(x, kernel), (x, kernel)


def _backward(kept, gradient):
  return jax.vjp(_product, *kept)[1](gradient)  # CPUs differentiate convolutions in a loop badly


_one_by_one.defvjp(_forward, _backward)


def _neighborhoods(x: Maps) -> Float[Array, 'b s h w c9']:
  """The 3x3 neighborhood of every pixel, zero beyond the border, in the channels."""
  h, w = x.shape[2:4]
  padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
  parts = [padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)]
  return jnp.concatenate(parts, axis=-1)


def one_hot_style(rater: Array, num_raters: int) -> Float[Array, 'b 1 r']:
  """The style of one rater per image."""
  return jax.nn.one_hot(rater, num_raters)[:, None]


def same_style(style: Float[Array, 's r'], batch_size: int) -> Float[Array, 'b s r']:
  """The same styles for every image."""
  return jnp.broadcast_to(style, (batch_size, *style.shape))
