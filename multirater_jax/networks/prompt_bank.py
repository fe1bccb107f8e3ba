"""Prompts at the bottleneck: what a rater attends to, mixed from a learned bank."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.convolution import Conv
from multirater_jax.networks.unet import Map

_he_normal = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal', 1, 2, batch_axis=0)


class PromptBank(nn.Module):
  """Adds to a map what the requested raters make of it and of a mix of prompts.

  softmax(W mean(h)) mixes the bank; [h, mix] gives ``channels`` maps a rater, of which a style
  takes its own, linearly; [h, those] gives the residual through channel attention. It starts at
  zero: the map is unchanged. ``size`` is the bank's, resized where the bottleneck has another.

  Source: DiffOSeg (arXiv:2507.13087), the prompt block; group norm for batch norm, no dropout, the
  small bank and one block of channel attention for three are ours.
  """

  prompts: int = 5
  size: int = 8
  channels: int = 4
  reduction: int = 4
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Map, style: Float[Array, 'b r']) -> Map:  # noqa: D102
    c = x.shape[-1]
    conv = {'kernel_size': (3, 3), 'use_bias': False, 'dtype': self.dtype}
    mixed = jnp.concatenate([x, Conv(c, **conv, name='from_mix')(self._mix(x))], axis=-1)
    y = nn.silu(nn.GroupNorm(num_groups=1, dtype=self.dtype)(Conv(c, **conv, name='join')(mixed)))
    raters = self.param('raters', _he_normal, (style.shape[-1], x.shape[-1], self.channels))
    kernel = jnp.einsum('br,rcm->bcm', style, raters).astype(y.dtype)
    own = jnp.einsum('bhwc,bcm->bhwm', y, kernel)
    y = Conv(c, **conv, name='own')(jnp.concatenate([x, own], axis=-1))
    y = Conv(c, **conv, name='hidden')(nn.silu(y))
    y = y * self._channel_gate(y)
    return x + nn.Dense(c, kernel_init=nn.initializers.zeros, dtype=self.dtype, name='output')(y)

  def _mix(self, x):
    _, h, w, c = x.shape
    shape = (self.prompts, self.size, self.size, c)
    bank = self.param('bank', nn.initializers.normal(1.0), shape)
    weights = jax.nn.softmax(nn.Dense(self.prompts, name='weights')(x.mean((1, 2))))
    bank = jax.image.resize(bank, (self.prompts, h, w, c), 'linear')
    return jnp.einsum('bp,phwc->bhwc', weights, bank).astype(x.dtype)

  def _channel_gate(self, x):
    y = nn.silu(nn.Dense(x.shape[-1] // self.reduction, dtype=self.dtype)(x.mean((1, 2))))
    return nn.sigmoid(nn.Dense(x.shape[-1], dtype=self.dtype)(y))[:, None, None]
