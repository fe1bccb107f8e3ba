"""Four scanners with known artefacts: reconstruction kernel, noise, streaks, intensity drift."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from multirater_jax.data.phantom.shapes import Plane, noise, pixel_grid, pixel_spacing

WINDOW = (-1000.0, 550.0)  # Hounsfield units shown as 0 and 1


@dataclass(frozen=True)
class Scanner:
  """How a scanner distorts what it sees.

  blur: deviation of the reconstruction kernel in mm. sharpen: weight of unsharp masking, 0 is
  none. noise and streaks: standard deviation in Hounsfield units. grain: correlation length of
  the noise in mm. gamma: exponent on the windowed image. drift: relative amplitude of a smooth
  intensity field.
  """

  name: str
  blur: float
  noise: float
  grain: float
  sharpen: float = 0.0
  streaks: float = 0.0
  gamma: float = 1.0
  drift: float = 0.0


SCANNERS = (
  Scanner('standard', blur=0.5, noise=18.0, grain=0.6),
  Scanner('sharp', blur=0.4, noise=50.0, grain=0.35, sharpen=0.9),
  Scanner('low-dose', blur=0.55, noise=45.0, grain=0.45, streaks=40.0),
  Scanner('drifting', blur=0.85, noise=14.0, grain=0.9, gamma=0.6, drift=0.2),
)


def scan(rng: np.random.Generator, hounsfield: Plane, scanner: Scanner) -> UInt8[np.ndarray, 'h w']:
  """The image as the scanner delivers it, windowed to [0, 1] and stored as 0 to 255."""
  size = hounsfield.shape[0]
  image = ndimage.gaussian_filter(hounsfield, scanner.blur / pixel_spacing(size))
  if scanner.sharpen:
    halo = ndimage.gaussian_filter(image, 0.9 / pixel_spacing(size))
    image = image + scanner.sharpen * (image - halo)
  image = image + scanner.noise * noise(rng, size, scanner.grain)
  if scanner.streaks:
    image = image + scanner.streaks * _streaks(rng, size)
  shown = np.clip((image - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1) ** scanner.gamma
  if scanner.drift:
    shown = shown * (1 + scanner.drift * _ramp(rng, size))
  return np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def _streaks(rng: np.random.Generator, size: int) -> Plane:
  """Rows of photon starvation, stronger in some parts of the image than in others."""
  strength = np.clip(1 + 0.5 * noise(rng, size, 7.0), 0.2, 2)
  return strength * noise(rng, size, (0.4, 3.5))


def _ramp(rng: np.random.Generator, size: int) -> Plane:
  """A tilted plane in a random direction, -1 to 1 over the image's width."""
  rows, columns = pixel_grid(size)
  angle = rng.uniform(0, 2 * np.pi)
  plane = np.sin(angle) * rows + np.cos(angle) * columns
  return (plane / np.abs(columns).max()).astype(np.float32)
