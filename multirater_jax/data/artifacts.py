"""Simulated scanner artefacts: noise, reconstruction kernel, gamma with bias field, streaks.

In training one artefact is drawn per image (``simulate``); robustness is measured under fixed
ones (``CONDITIONS``). Images are in [0, 1] before and after, of any size and number of channels.
No convolution operator, FFT or gather is used: blur is a weighted sum of shifted images and smooth
or striped fields are sums of plane waves, so that a batch with a strength per image stays cheap.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

Picture = Float[Array, 'h w c']
Artifact = Callable[[Key[Array, ''], Picture], Picture]
Draws = Float[Array, ' 2']  # uniform in [0, 1)
Waves = tuple[Float[Array, '2 n'], Float[Array, ' n']]  # frequencies down and across; phases
Strength = float | Float[Array, '']

LARGEST_BLUR = 2.0  # pixels; fixes the number of shifts
STREAK_WAVES = 96  # enough that a streak field is close to Gaussian
GREATEST_FREQUENCY = 0.35  # cycles per pixel, where a soft kernel cuts off


def simulate(
  keys: Key[Array, ' b'], image: Float[Array, 'b h w c'], *, probability: float = 0.5
) -> Float[Array, 'b h w c']:
  """Draws at most one artefact per image: noise, kernel, gamma with bias field, or streaks.

  The kinds are equally likely and cover the strengths of ``CONDITIONS`` and a little more; an
  image stays as it is with ``1 - probability``.
  """

  def one(key, image):
    # Few, wide draws: every call of the random generator costs compilation time.
    scalar_key, field_key = jax.random.split(key)
    coin, kind, *draws = jax.random.uniform(scalar_key, (4,))
    kind = jnp.floor(kind * len(KINDS)).astype(jnp.int32)
    distorted = jax.lax.switch(kind, KINDS, field_key, jnp.stack(draws), image)
    return jnp.where(coin < probability, distorted, image)

  return jax.vmap(one)(keys, image.astype(jnp.float32))


def white_noise(key: Key[Array, ''], image: Picture, sigma: Strength) -> Picture:
  """Adds Gaussian noise of standard deviation ``sigma``, independent in every channel."""
  return jnp.clip(image + sigma * jax.random.normal(key, image.shape), 0, 1)


def blur(image: Picture, sigma: Strength) -> Picture:
  """Gaussian blur of ``sigma`` pixels, 0 (unchanged) to ``LARGEST_BLUR``; borders are mirrored."""
  radius = int(3 * LARGEST_BLUR)
  offsets = jnp.arange(-radius, radius + 1)
  weights = jnp.exp(-0.5 * (offsets / jnp.maximum(sigma, 1e-3)) ** 2)
  weights = weights / jnp.sum(weights)
  return _weighted_shifts(_weighted_shifts(image, weights, axis=0), weights, axis=1)


def _weighted_shifts(image: Picture, weights: Float[Array, ' n'], *, axis: int) -> Picture:
  radius = weights.shape[0] // 2
  pad = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
  padded = jnp.pad(image, pad, mode='symmetric')
  size = image.shape[axis]
  return sum(
    weights[i] * jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(2 * radius + 1)
  )


def gamma(image: Picture, exponent: Strength) -> Picture:
  """Raises intensities to ``exponent``: above 1 darkens, below 1 brightens."""
  return jnp.clip(image, 0, 1) ** exponent


def bias_field(key: Key[Array, ''], image: Picture, strength: Strength) -> Picture:
  """Multiplies by ``exp`` of a smooth field whose standard deviation is ``strength``."""
  field = _slow_field(key, image.shape[:2])
  return jnp.clip(image * jnp.exp(strength * field)[..., None], 0, 1)


def streaks(key: Key[Array, ''], image: Picture, sigma: Strength) -> Picture:
  """Adds the nearly parallel stripes and grain of a low-dose scan, standard deviation ``sigma``.

  Back-projected noise is strongest along the direction of greatest attenuation and where the rays
  crossed most of it, and the ramp filter favors fine stripes: so plane waves are drawn mostly
  across one random direction, a quarter of them across any, under a slowly varying envelope.
  """
  wave_key, envelope_key = jax.random.split(key)
  size = image.shape[:2]
  field = _field(_streak_waves(wave_key), size)
  # E exp(2 a s) = exp(2 a^2) for a standard normal s, so the product keeps variance 1.
  envelope = jnp.exp(0.5 * _slow_field(envelope_key, size) - 0.5**2)
  return jnp.clip(image + sigma * (field * envelope)[..., None], 0, 1)


def _streak_waves(key: Key[Array, '']) -> Waves:
  draws = jax.random.uniform(key, (4, STREAK_WAVES))
  # A sum of two uniform draws spreads like a bell: a standard deviation of 5 degrees.
  along = jnp.deg2rad(5.0) * jnp.sqrt(6.0) * (draws[0] + draws[1] - 1)
  grain = jnp.arange(STREAK_WAVES) % 4 == 0
  main = jnp.pi * draws[1, 0]  # wave 0 is grain, so this number is free
  angle = main + jnp.where(grain, jnp.pi * draws[0], along)
  # The square root makes the density of waves grow with frequency, like the ramp filter.
  radius = GREATEST_FREQUENCY * jnp.sqrt(draws[2])
  return radius * jnp.stack([jnp.sin(angle), jnp.cos(angle)]), 2 * jnp.pi * draws[3]


def _slow_field(key: Key[Array, ''], size: tuple[int, int]) -> Float[Array, 'h w']:
  """A few waves about as long as the image."""
  draws = jax.random.uniform(key, (3, 4))
  cycles = 1.5 * (draws[:2] - 0.5)
  return _field((cycles / jnp.asarray(size, jnp.float32)[:, None], 2 * jnp.pi * draws[2]), size)


def _field(waves: Waves, size: tuple[int, int]) -> Float[Array, 'h w']:
  """Sum of plane waves, variance about 1; frequencies in cycles per pixel.

  exp(i (a + b)) = exp(i a) exp(i b) makes it one matrix product over the waves.
  """
  frequency, phase = waves
  down = 2 * jnp.pi * jnp.arange(size[0])[:, None] * frequency[0] + phase
  across = 2 * jnp.pi * jnp.arange(size[1])[:, None] * frequency[1]
  left = jnp.concatenate([jnp.cos(down), -jnp.sin(down)], axis=1)
  right = jnp.concatenate([jnp.cos(across), jnp.sin(across)], axis=1)
  return np.sqrt(2 / phase.shape[0]) * jnp.matmul(left, right.T, precision='highest')


def _draw_noise(key: Key[Array, ''], draws: Draws, image: Picture) -> Picture:
  return white_noise(key, image, 0.02 + 0.28 * draws[0])


def _draw_kernel(key: Key[Array, ''], draws: Draws, image: Picture) -> Picture:
  """Three times in four a soft kernel (blur), else a sharp one (unsharp masking)."""
  soft = blur(image, 0.3 + 1.5 * draws[0])
  sharp = jnp.clip(2 * image - soft, 0, 1)
  return jnp.where(draws[1] < 0.25, sharp, soft)


def _draw_intensity(key: Key[Array, ''], draws: Draws, image: Picture) -> Picture:
  return bias_field(key, gamma(image, 2.0 ** (2 * draws[0] - 1)), 0.3 * draws[1])


def _draw_streaks(key: Key[Array, ''], draws: Draws, image: Picture) -> Picture:
  return streaks(key, image, 0.02 + 0.08 * draws[0])


KINDS = (_draw_noise, _draw_kernel, _draw_intensity, _draw_streaks)


def _fixed(change: Callable[[Picture, Strength], Picture], strength: float) -> Artifact:
  return lambda key, image: change(image, strength)


CONDITIONS: dict[str, Artifact] = {
  **{f'noise {s:g}': partial(white_noise, sigma=s) for s in (0.05, 0.15, 0.25)},
  **{f'blur {s:g}': _fixed(blur, s) for s in (0.5, 1.0, 1.5)},
  **{f'gamma {s:g}': _fixed(gamma, s) for s in (1.25, 1.5, 1.75)},
  'streaks 0.06': partial(streaks, sigma=0.06),
}
"""Fixed test conditions by name, each ``(key, image [h w c]) -> image``; vmap maps over a batch."""
