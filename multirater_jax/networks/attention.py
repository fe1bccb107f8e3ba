"""Attention over a bank of latent codes, and a gate with a large receptive field."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
    gate = nn.Conv(channels, (5, 5), **depthwise)(x)
    gate = nn.Conv(channels, (7, 7), kernel_dilation=3, **depthwise)(gate)
    return 1 + nn.Dense(channels, kernel_init=nn.initializers.zeros)(gate)


def _identity(key, shape, dtype=jnp.float32):
  del key
  return jnp.eye(*shape, dtype=dtype)
