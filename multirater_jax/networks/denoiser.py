"""A U-Net that knows how noisy its input is."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from multirater_jax.networks.attention import SelfAttention
from multirater_jax.networks.convolution import Conv
from multirater_jax.networks.unet import (
  Map,
  average_pool,
  check_size,
  depth_to_space,
  space_to_depth,
  upsample,
)

_LONGEST = 10_000.0  # steps; the slowest sinusoid turns once in 2 pi times so many


def sinusoid(t: Integer[Array, ' n'], width: int) -> Float[Array, 'n d']:
  """Sines and cosines of t at ``width / 2`` frequencies, from 1 down to 1e-4 a step.

  Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.5.
  """
  half = width // 2
  frequency = jnp.exp(-jnp.log(_LONGEST) * jnp.arange(half) / half)
  angle = t[:, None].astype(jnp.float32) * frequency
  return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


class DenoiserBlock(nn.Module):
  """Residual block: two of (group norm, SiLU, 3x3), the embedding added between them.

  The second convolution starts at zero, so the block starts as its shortcut.
  """

  width: int
  attention: bool = False
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Map, embedding: Float[Array, 'n d']) -> Float[Array, 'b h w c2']:  # noqa: D102
    y = Conv(self.width, (3, 3), dtype=self.dtype, name='conv1')(activate(x, self.dtype))
    shift = nn.Dense(self.width, dtype=self.dtype, name='embedding')(embedding)
    y = activate(y + shift[:, None, None], self.dtype)
    zeros = nn.initializers.zeros
    y = Conv(self.width, (3, 3), kernel_init=zeros, dtype=self.dtype, name='conv2')(y)
    if x.shape[-1] != self.width:
      x = nn.Dense(self.width, dtype=self.dtype, name='shortcut')(x)
    x = x + y
    return SelfAttention(dtype=self.dtype, name='attention')(x) if self.attention else x


def activate(x: Map, dtype: Any) -> Map:
  """Group norm, then SiLU."""
  return nn.silu(nn.GroupNorm(num_groups=None, group_size=_group(x.shape[-1]), dtype=dtype)(x))


def _group(channels: int) -> int:
  return next(size for size in (8, 4, 2, 1) if channels % size == 0)


class Denoiser(nn.Module):
  """Time-conditioned U-Net over a noisy map, with self-attention where the map is small.

  ``features`` are a map of the image at ``1 / patch`` size with ``widths[0]`` channels, added to
  the first convolution's output; ``condition`` is any vector, taken in linearly: mixing two of them
  mixes what they add to the time embedding. ``bottleneck(h, condition)`` may replace the
  innermost map. ``attention`` counts the levels that attend, from the innermost. ``patch`` folds
  pixels into channels, as in ``UNet``; the sides must be multiples of
  ``patch * 2 ** (len(widths) - 1)``. The last convolution starts at zero.

  Source: Dhariwal and Nichol 2021 (arXiv:2105.05233); folding, added features and the sizes ours.
  """

  channels: int
  widths: tuple[int, ...] = (32, 64, 96)
  blocks: int = 1
  attention: int = 1
  patch: int = 2
  time_width: int = 64
  bottleneck: nn.Module | None = None
  remat: bool = False
  dtype: Any = None

  @nn.compact
  def __call__(  # noqa: D102
    self,
    x: Float[Array, 'n h w c'],
    t: Integer[Array, ' n'],
    features: Float[Array, 'n i j f'],
    condition: Float[Array, 'n d'] | None = None,
  ) -> Float[Array, 'n h w c2']:
    check_size(x, self.patch * 2 ** (len(self.widths) - 1))
    embedding = self._embedding(t, condition)
    x = space_to_depth(x.astype(self.dtype or x.dtype), self.patch)
    x = Conv(self.widths[0], (3, 3), dtype=self.dtype, name='stem')(x) + features
    skips = []
    for level, width in enumerate(self.widths):
      x = average_pool(x) if level else x
      for number in range(self.blocks):
        x = self._block(f'down{level}_{number}', level, width)(x, embedding)
        skips.append(x)
    x = self._block('middle', len(self.widths) - 1, self.widths[-1])(x, embedding)
    x = self.bottleneck(x, condition) if self.bottleneck is not None else x
    for level, width in reversed(list(enumerate(self.widths))):
      for number in range(self.blocks):
        joined = jnp.concatenate([x, skips.pop()], axis=-1)
        x = self._block(f'up{level}_{number}', level, width)(joined, embedding)
      x = upsample(x) if level else x
    return self._output(x)

  def _embedding(self, t, condition):
    width = 4 * self.time_width
    x = nn.Dense(width, dtype=self.dtype, name='time1')(sinusoid(t, self.time_width))
    x = nn.Dense(width, dtype=self.dtype, name='time2')(nn.silu(x))
    if condition is not None:
      x += nn.Dense(width, use_bias=False, dtype=self.dtype, name='condition')(condition)
    return nn.silu(x)

  def _block(self, name, level, width):
    block = nn.remat(DenoiserBlock) if self.remat else DenoiserBlock
    attention = level >= len(self.widths) - self.attention
    return block(width, attention, self.dtype, name=name)

  def _output(self, x):
    channels = self.channels * self.patch**2
    x = activate(x, self.dtype)
    zeros = nn.initializers.zeros
    x = Conv(channels, (3, 3), kernel_init=zeros, dtype=self.dtype, name='output')(x)
    return depth_to_space(x.astype(jnp.float32), self.patch)


class ImageDenoiser(nn.Module):
  """A trunk that reads the image once, and a denoiser that is given what it saw."""

  trunk: nn.Module
  denoiser: Denoiser
  dtype: Any = None

  def setup(self):
    """Names the projection."""
    self.project = nn.Dense(self.denoiser.widths[0], dtype=self.dtype)

  def encode(self, image: Float[Array, 'b h w c']) -> Float[Array, 'b i j f']:
    """The denoiser's ``features`` of images in [0, 1]; run it once, outside the loop over steps."""
    full = self.trunk(2 * image - 1).full
    return self.project(space_to_depth(full, self.denoiser.patch))

  def denoise(
    self,
    x: Float[Array, 'n h w c'],
    t: Integer[Array, ' n'],
    features: Float[Array, 'n i j f'],
    condition: Float[Array, 'n d'] | None = None,
  ) -> Float[Array, 'n h w c2']:
    """The denoiser's output, in float32."""
    return self.denoiser(x, t, features, condition)

  def __call__(
    self,
    image: Float[Array, 'b h w c'],
    x: Float[Array, 'b h w c2'],
    t: Integer[Array, ' b'],
    condition: Float[Array, 'b d'] | None = None,
  ) -> Float[Array, 'b h w c3']:
    """One step of one sample an image; what ``init`` runs."""
    return self.denoise(x, t, self.encode(image), condition)
