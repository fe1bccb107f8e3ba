"""Layers of which every rater has their own copy, kept as one array with the rater first."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, 'b s h w c']


class StackedConv(nn.Module):
  """A 3x3 convolution with the weights of one rater, or of a mixture of raters, for each map.

  A row of ``style`` [r] weighs the raters' kernels, so a one-hot row is that rater's layer. Written
  as one batched matrix product over 3x3 neighborhoods: grouped convolutions, which stacked kernels
  would become, are an order of magnitude slower on CPU.
  """

  num_raters: int
  width: int
  dtype: Any = None

  @nn.compact
  def __call__(  # noqa: D102
    self, x: Maps, style: Float[Array, 'b s r']
  ) -> Float[Array, 'b s h w c2']:
    shape = (self.num_raters, 9 * x.shape[-1], self.width)
    kernel = self.param('kernel', nn.initializers.lecun_normal(batch_axis=0), shape)
    bias = self.param('bias', nn.initializers.zeros, (self.num_raters, self.width))
    kernel = jnp.einsum('bsr,rpo->bspo', style, kernel)
    bias = jnp.einsum('bsr,ro->bso', style, bias)
    dtype = self.dtype or x.dtype
    product = jnp.einsum('bshwp,bspo->bshwo', _neighborhoods(x.astype(dtype)), kernel.astype(dtype))
    return product + bias[:, :, None, None].astype(dtype)


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
