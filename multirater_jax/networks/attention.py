"""Attention over a bank of codes and over positions, and a gate with a large receptive field."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.convolution import Conv


class BankAttention(nn.Module):
  """Returns ``query -> codes``: every query mixes a bank, softmax(q W_q (Z W_k)^T / sqrt(z)) Z W_v.

  A pure function comes back, so that it can run inside ``jax.lax.scan`` with the keys and values
  computed once. ``W_v`` starts at the identity: the result starts as a convex mix of prior samples.

  Source: D-Persona (arXiv:2403.13417) mixes prior samples by attention; the projections are ours.
  """

  @nn.compact
  def __call__(  # noqa: D102
    self, bank: Float[Array, 'b s z']
  ) -> Callable[[Float[Array, 'b i j z']], Float[Array, 'b i j z']]:
    dim = bank.shape[-1]
    keys = nn.Dense(dim, use_bias=False, name='key')(bank)
    values = nn.Dense(dim, use_bias=False, kernel_init=_identity, name='value')(bank)
    project = self.param('query', nn.initializers.lecun_normal(), (dim, dim))

    def attend(query):
      scores = jnp.einsum('bijz,bsz->bijs', query @ project, keys) / jnp.sqrt(dim)
      return jnp.einsum('bijs,bsz->bijz', jax.nn.softmax(scores), values)

    return attend


class LargeKernelGate(nn.Module):
  """1 + a gate from 5x5 and dilated 7x7 depthwise convolutions and a 1x1 layer that starts at zero.

  Source: Guo et al. 2022 (arXiv:2202.09741); the start at the identity is ours.
  """

  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:  # noqa: D102
    channels = x.shape[-1]
    depthwise = {'feature_group_count': channels, 'dtype': self.dtype}
    gate = Conv(channels, (5, 5), **depthwise)(x)
    gate = Conv(channels, (7, 7), kernel_dilation=3, **depthwise)(gate)
    return 1 + nn.Dense(channels, kernel_init=nn.initializers.zeros)(gate)


class SelfAttention(nn.Module):
  """Residual attention of every position to every other; starts as the identity.

  Meant for small maps: time and memory grow with the square of the number of positions.

  Source: Dhariwal and Nichol 2021 (arXiv:2105.05233), section 3.
  """

  head_width: int = 32
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:  # noqa: D102
    b, h, w, c = x.shape
    heads = max(c // self.head_width, 1)
    y = nn.GroupNorm(num_groups=1, dtype=self.dtype)(x).reshape(b, h * w, c)
    width = (3, heads, self.head_width)
    qkv = nn.DenseGeneral(width, dtype=self.dtype, name='qkv')(y)
    y = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
    zeros = nn.initializers.zeros
    y = nn.DenseGeneral(c, (-2, -1), kernel_init=zeros, dtype=self.dtype, name='output')(y)
    return x + y.reshape(b, h, w, c)


def _identity(key, shape, dtype=jnp.float32):
  del key
  return jnp.eye(*shape, dtype=dtype)
