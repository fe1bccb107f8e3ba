"""A U-Net trunk: from an image to features at every decoder level, normalized by groups."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from multirater_jax.networks.convolution import Conv

Map = Float[Array, 'b h w c']
Resized = Float[Array, 'b h2 w2 c2']
AfterBlock = Callable[[int, Any], Any]


class Features(NamedTuple):
  """What a trunk returns: the full-size map for the head, and each decoder block's output."""

  full: Map
  levels: tuple[Map, ...]  # coarse to fine


def space_to_depth(x: Map, factor: int) -> Resized:
  """Folds each ``factor x factor`` square of pixels into channels; ``depth_to_space`` undoes it."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // factor, factor, w // factor, factor, c)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: Map, factor: int) -> Resized:
  """Unfolds channels into ``factor x factor`` squares of pixels."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, factor, factor, c // factor**2).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h * factor, w * factor, c // factor**2)


def upsample(x: Map, factor: int = 2) -> Resized:
  """Repeats every pixel ``factor`` times along both axes (nearest)."""
  return x.repeat(factor, axis=1).repeat(factor, axis=2)


def average_pool(x: Map, factor: int = 2) -> Resized:
  """Mean over ``factor x factor`` squares; a reshape, which XLA runs faster than a window."""
  b, h, w, c = x.shape
  return x.reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))


class ConvBlock(nn.Module):
  """``convs`` times 3x3 convolution, group norm, ReLU."""

  width: int
  convs: int = 2
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Map) -> Float[Array, 'b h w c2']:  # noqa: D102
    for _ in range(self.convs):
      x = Conv(self.width, (3, 3), use_bias=False, dtype=self.dtype)(x)
      x = nn.GroupNorm(num_groups=None, group_size=min(8, self.width), dtype=self.dtype)(x)
      x = nn.relu(x)
    return x


class UNet(nn.Module):
  """U-Net with one ``ConvBlock`` a level, average pooling down, nearest upsampling.

  ``patch=2`` folds 2x2 pixels into channels first and unfolds them last: all convolutions then run
  at half size with no pixel lost, several times faster on CPU. The image's sides must be multiples
  of ``patch * 2 ** (len(widths) - 1)``.

  Source: Ronneberger et al. 2015 (arXiv:1505.04597); folding and group norm are our choice.
  """

  widths: tuple[int, ...] = (32, 64, 128, 192)
  convs: int = 2
  patch: int = 1
  features: int = 16
  dtype: Any = None

  @nn.compact
  def __call__(self, image: Map, after_block: AfterBlock | None = None) -> Features:
    """Returns features; ``after_block(level, map)`` may replace each decoder block's output."""
    check_size(image, self.patch * 2 ** (len(self.widths) - 1))
    x = space_to_depth(image.astype(self.dtype or image.dtype), self.patch)
    skips = []
    for width in self.widths[:-1]:
      x = ConvBlock(width, self.convs, self.dtype)(x)
      skips.append(x)
      x = average_pool(x)
    x = ConvBlock(self.widths[-1], self.convs, self.dtype)(x)
    levels = []
    for level, (width, skip) in enumerate(zip(self.widths[-2::-1], skips[::-1], strict=True)):
      x = jax.numpy.concatenate([upsample(x), skip], axis=-1)
      x = ConvBlock(width, self.convs, self.dtype)(x)
      x = after_block(level, x) if after_block else x
      levels.append(x)
    full = nn.Dense(self.features * self.patch**2, dtype=self.dtype, name='to_features')(x)
    full = depth_to_space(full, self.patch)
    if self.patch > 1:  # without it the seams between the squares show in every contour
      mend = Conv(self.features, (3, 3), dtype=self.dtype, name='mend_seams')
      full = full + mend(nn.relu(full))
    return Features(full, tuple(levels))


def check_size(image: Map, multiple: int) -> None:
  """Raises ValueError unless height and width are multiples of what the trunk halves."""
  height, width = image.shape[1:3]
  if height % multiple or width % multiple:
    raise ValueError(
      f'The image is {height}x{width}, but this network reduces it {multiple} fold: '
      f'give sides that are multiples of {multiple} (crop, tile or pad the image).'
    )
