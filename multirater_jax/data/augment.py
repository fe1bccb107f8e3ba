"""Random changes of shape and intensity, on the device, inside the compiled training step.

Rotation, scale and elastic deformation are composed into one map of coordinates, so an image is
resampled once, and the masks of all its raters follow the very same map. Every image has its own
key: what happens to one does not depend on the rest of the batch.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key

Coordinates = tuple[Float[Array, 'h w'], Float[Array, 'h w']]
Intensities = Float[Array, 'h w c']


def augment(
  keys: Key[Array, ' b'],
  image: Float[Array, 'b h w c'],
  masks: Integer[Array, 'b r h w'],
  *,
  rotation: float = 0.0,
  scale: float = 0.0,
  elastic: float = 0.0,
  elastic_spacing: int = 16,
  brightness: float = 0.0,
  contrast: float = 0.0,
  gamma: float = 0.0,
  noise: float = 0.0,
  probability: float = 0.5,
) -> tuple[Float[Array, 'b h w c'], Integer[Array, 'b r h w']]:
  """Draws one change per image; the image moves bilinearly, its masks by the nearest pixel.

  Each amplitude is the largest one drawn: ``rotation`` in degrees to either side, ``scale``
  relative (0.2 draws log-uniformly between 1 / 1.2 and 1.2), ``elastic`` in pixels at control
  points ``elastic_spacing`` pixels apart, ``brightness`` added, ``contrast`` (about the image's
  mean) and ``gamma`` relative like ``scale``, ``noise`` the standard deviation of white noise.
  An amplitude of 0 costs nothing. The geometric change as a whole, and each change of intensity,
  happens with ``probability``; intensities then end in [0, 1].

  What comes in from beyond the border is the mirrored inside, for the image and the masks alike,
  so that a mask never disagrees with the picture; masks keep their type and classes.
  """

  def one(key, image, masks):
    # Few, wide draws: every call of the random generator costs compilation time.
    coin_key, amount_key, elastic_key, noise_key = jax.random.split(key, 4)
    coins = jax.random.bernoulli(coin_key, probability, (5,))
    amounts = jax.random.uniform(amount_key, (6,), minval=-1.0, maxval=1.0)
    if rotation or scale or elastic:
      coordinates = _coordinates(
        elastic_key,
        image.shape[:2],
        coins[0] * jnp.append(amounts[:2], 1),
        amplitudes=(np.deg2rad(rotation), np.log1p(scale), elastic),
        spacing=elastic_spacing,
      )
      image, masks = _bilinear(image, coordinates), _nearest(masks, coordinates)
    changes = (_brightness, _contrast, _gamma, partial(_noise, noise_key))
    amplitudes = (brightness, contrast, gamma, noise)
    for i, (change, amplitude) in enumerate(zip(changes, amplitudes, strict=True)):
      if amplitude:
        changed = jnp.clip(change(image, amplitude, amounts[2 + i]), 0, 1)
        image = jnp.where(coins[1 + i], changed, image)
    return image, masks

  image = image.astype(jnp.float32)
  if not any((rotation, scale, elastic, brightness, contrast, gamma, noise)):
    return image, masks
  return jax.vmap(one)(keys, image, masks)


def _coordinates(
  key: Key[Array, ''],
  size: tuple[int, int],
  amounts: Float[Array, ' 3'],
  *,
  amplitudes: tuple[float, float, float],
  spacing: int,
) -> Coordinates:
  """Where each output pixel comes from: rotation and scale about the center, plus elastic.

  Amplitudes are angle, logarithm of scale, and elastic shift; all zero is the exact identity.
  """
  height, width = size
  row, column = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in size)
  angle, zoom = amplitudes[0] * amounts[0], jnp.exp(amplitudes[1] * amounts[1])
  cosine, sine = jnp.cos(angle) / zoom, jnp.sin(angle) / zoom
  rows = cosine * row[:, None] - sine * column + (height - 1) / 2
  columns = sine * row[:, None] + cosine * column + (width - 1) / 2
  if amplitudes[2]:
    shift = amplitudes[2] * amounts[2] * _smooth_field(key, size, spacing)
    rows, columns = rows + shift[0], columns + shift[1]
  return _mirror(rows, height), _mirror(columns, width)


def _mirror(position: Float[Array, 'h w'], size: int) -> Float[Array, 'h w']:
  """Folds positions back into [0, size - 1] by reflection about the border pixels."""
  last = size - 1
  return last - jnp.abs(jnp.mod(position, max(2 * last, 1)) - last)


def _smooth_field(
  key: Key[Array, ''], size: tuple[int, int], spacing: int
) -> Float[Array, '2 h w']:
  """A displacement in [-1, 1] for each axis: a cubic B-spline over random control points."""
  down, across = (_spline(n, spacing) for n in size)
  control = jax.random.uniform(key, (2, down.shape[1], across.shape[1]), minval=-1.0, maxval=1.0)
  return jnp.einsum('hi,aij,wj->ahw', down, control, across, precision='highest')


@lru_cache(maxsize=64)
def _spline(size: int, spacing: int) -> np.ndarray:
  """Weights [size, control points] of the uniform cubic B-spline; each row adds up to 1."""
  position = np.arange(size) / spacing + 1
  distance = np.abs(position[:, None] - np.arange(int(position[-1]) + 3))
  near = 2 / 3 - distance**2 + distance**3 / 2
  far = np.clip(2 - distance, 0, None) ** 3 / 6
  return np.where(distance < 1, near, far).astype(np.float32)


def _bilinear(image: Intensities, coordinates: Coordinates) -> Intensities:
  height, width, channels = image.shape
  flat = image.reshape(height * width, channels)
  (row, down), (column, right) = (
    _cell(p, n) for p, n in zip(coordinates, (height, width), strict=True)
  )
  next_row = jnp.minimum(row + 1, height - 1)
  next_column = jnp.minimum(column + 1, width - 1)

  def pixel(r, c):
    return _take(flat, r * width + c)

  top = pixel(row, column) * (1 - right) + pixel(row, next_column) * right
  bottom = pixel(next_row, column) * (1 - right) + pixel(next_row, next_column) * right
  return top * (1 - down) + bottom * down


def _cell(
  position: Float[Array, 'h w'], size: int
) -> tuple[Integer[Array, 'h w'], Float[Array, 'h w 1']]:
  """The pixel before a position and how far beyond it the position lies, in [0, 1]."""
  before = jnp.clip(jnp.floor(position), 0, size - 1)
  return before.astype(jnp.int32), (position - before)[..., None]


def _nearest(masks: Integer[Array, 'r h w'], coordinates: Coordinates) -> Integer[Array, 'r h w']:
  raters, height, width = masks.shape
  row, column = (jnp.round(p).astype(jnp.int32) for p in coordinates)
  flat = masks.reshape(raters, height * width).T
  return jnp.moveaxis(_take(flat, row * width + column), -1, 0)


def _take(flat: Array, index: Integer[Array, 'h w']) -> Array:
  return flat.at[index].get(mode='promise_in_bounds')


def _brightness(image: Intensities, amplitude: float, amount: Float[Array, '']) -> Intensities:
  return image + amplitude * amount


def _contrast(image: Intensities, amplitude: float, amount: Float[Array, '']) -> Intensities:
  mean = jnp.mean(image, axis=(0, 1))
  return mean + (image - mean) * jnp.exp(np.log1p(amplitude) * amount)


def _gamma(image: Intensities, amplitude: float, amount: Float[Array, '']) -> Intensities:
  return jnp.clip(image, 0, 1) ** jnp.exp(np.log1p(amplitude) * amount)


def _noise(
  key: Key[Array, ''], image: Intensities, amplitude: float, amount: Float[Array, '']
) -> Intensities:
  return image + amplitude * jnp.abs(amount) * jax.random.normal(key, image.shape)
