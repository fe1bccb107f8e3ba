"""The stochastic annotation process of the phantom: raters with explicit styles."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from multirater_jax.data.errors import DataError
from multirater_jax.data.phantom.nodule import Nodule
from multirater_jax.data.phantom.scene import true_nodule
from multirater_jax.data.phantom.shapes import Plane, pixel_spacing, smooth_fields

TREMOR_LENGTH = 4.0  # mm over which the hand's error changes
RECORDED, FRESH_SAMPLE, FRESH_PERSONAL = 1001, 1002, 1003  # random streams apart from the scene's


@dataclass(frozen=True)
class RaterStyle:
  """How one rater outlines a nodule; every annotation draws anew from these numbers.

  threshold: membership above which a pixel belongs to the nodule, in (0, 1); high is conservative.
  spread: standard deviation of the threshold between annotations.
  spicules, halo: probability that an annotation includes the spicules, the ground-glass halo.
  smoothing: deviation in mm of the Gaussian that rounds the outline.
  tremor: deviation in mm of a smooth random displacement of the outline, per axis.
  miss: probability that the rater looks and outlines nothing (an empty mask).
  """

  threshold: float
  spread: float
  spicules: float
  halo: float
  smoothing: float
  tremor: float
  miss: float


DEFAULT_STYLES = (
  RaterStyle(0.64, 0.05, spicules=0.05, halo=0.10, smoothing=0.4, tremor=0.30, miss=0.06),
  RaterStyle(0.52, 0.06, spicules=0.10, halo=0.60, smoothing=0.9, tremor=0.25, miss=0.03),
  RaterStyle(0.45, 0.04, spicules=0.90, halo=0.80, smoothing=0.2, tremor=0.20, miss=0.02),
  RaterStyle(0.33, 0.06, spicules=0.50, halo=0.95, smoothing=0.8, tremor=0.45, miss=0.01),
)


def make_styles(num_raters: int) -> tuple[RaterStyle, ...]:
  """Styles from conservative to generous, interpolated between the four ``DEFAULT_STYLES``."""
  if num_raters < 1:
    raise DataError(f'A phantom needs at least one rater; num_raters is {num_raters}.')
  last = len(DEFAULT_STYLES) - 1
  places = np.linspace(0, last, num_raters) if num_raters > 1 else np.array([last / 2])
  table = np.array([astuple(style) for style in DEFAULT_STYLES])
  columns = [np.interp(places, np.arange(last + 1), column) for column in table.T]
  return tuple(RaterStyle(*map(float, row)) for row in np.stack(columns, axis=-1))


def annotate(
  nodule: Nodule, style: RaterStyle, rng: np.random.Generator
) -> UInt8[np.ndarray, 'h w']:
  """One fresh mask by a rater of this style: 1 inside the outline, all 0 where the rater missed it.

  The rater perceives ``max(core, halo?, spicules?)``, rounds and displaces it, and outlines where
  it exceeds the threshold of the moment. One outline: the largest connected part.
  """
  if rng.random() < style.miss:
    return np.zeros(nodule.core.shape, np.uint8)
  halo, spicules = bool(rng.random() < style.halo), bool(rng.random() < style.spicules)
  threshold = float(np.clip(rng.normal(style.threshold, style.spread), 0.05, 0.95))
  perceived = _perceive(nodule, style.smoothing, halo=halo, spicules=spicules)
  perceived = _tremble(perceived, style.tremor, rng)
  # What was not missed is outlined, however small: half of a faint maximum at the least.
  return _largest_part(perceived > min(threshold, 0.5 * float(perceived.max())))


def _perceive(nodule: Nodule, smoothing: float, *, halo: bool, spicules: bool) -> Plane:
  perceived = nodule.core
  if halo:
    perceived = np.maximum(perceived, nodule.halo)
  if spicules:
    perceived = np.maximum(perceived, nodule.spicules)
  return ndimage.gaussian_filter(perceived, smoothing / pixel_spacing(len(perceived)))


def _tremble(plane: Plane, tremor: float, rng: np.random.Generator) -> Plane:
  """The plane seen through a smooth random displacement of ``tremor`` mm, bilinear."""
  size = len(plane)
  shift = smooth_fields(rng, 2, size, TREMOR_LENGTH) * (tremor / pixel_spacing(size))
  return ndimage.map_coordinates(plane, np.indices(plane.shape) + shift, order=1, mode='nearest')


def _largest_part(inside: Bool[np.ndarray, 'h w']) -> UInt8[np.ndarray, 'h w']:
  parts, count = ndimage.label(inside)
  if count > 1:
    inside = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
  return inside.astype(np.uint8)


def annotate_all(
  nodule: Nodule, seed: int, styles: Sequence[RaterStyle], *, missing: float = 0.0
) -> tuple[UInt8[np.ndarray, 'r h w'], Bool[np.ndarray, ' r']]:
  """The recorded annotations of scene ``seed``: masks, and which raters looked at it.

  ``missing`` is the probability that a rater was never shown the image (mask 0, not annotated);
  at least one rater always was. The mask of a rater that looked does not depend on ``missing``.
  """
  masks = [annotate(nodule, style, _stream(RECORDED, seed, r)) for r, style in enumerate(styles)]
  chance = _stream(RECORDED, seed, len(styles)).random(len(styles))
  annotated = (chance >= missing) | (chance == chance.max())
  return np.stack(masks) * annotated[:, None, None].astype(np.uint8), annotated


def fresh_samples(
  seeds: Sequence[int],
  num_samples: int,
  rng_seed: int,
  *,
  size: int = 64,
  styles: Sequence[RaterStyle] = DEFAULT_STYLES,
) -> UInt8[np.ndarray, 'b s h w']:
  """Masks of the true process: for each a rater drawn uniformly, then a fresh annotation.

  Independent of the recorded annotations; row i depends on ``seeds[i]`` and ``rng_seed`` only.
  """
  return np.stack([_samples(seed, num_samples, rng_seed, size, styles) for seed in seeds])


def _samples(
  seed: int, num_samples: int, rng_seed: int, size: int, styles: Sequence[RaterStyle]
) -> UInt8[np.ndarray, 's h w']:
  nodule, rng = true_nodule(seed, size), _stream(FRESH_SAMPLE, seed, rng_seed)
  raters = rng.integers(len(styles), size=num_samples)
  return np.stack([annotate(nodule, styles[r], rng) for r in raters])


def fresh_personal(
  seeds: Sequence[int],
  rng_seed: int,
  *,
  size: int = 64,
  styles: Sequence[RaterStyle] = DEFAULT_STYLES,
) -> UInt8[np.ndarray, 'b r h w']:
  """One fresh annotation by every rater: what a perfect copy of each rater would draw.

  Independent of the recorded annotations; row i depends on ``seeds[i]`` and ``rng_seed`` only.
  """
  return np.stack([_personal(seed, rng_seed, size, styles) for seed in seeds])


def _personal(
  seed: int, rng_seed: int, size: int, styles: Sequence[RaterStyle]
) -> UInt8[np.ndarray, 'r h w']:
  nodule, rng = true_nodule(seed, size), _stream(FRESH_PERSONAL, seed, rng_seed)
  return np.stack([annotate(nodule, style, rng) for style in styles])


def _stream(purpose: int, seed: int, part: int) -> np.random.Generator:
  return np.random.default_rng((purpose, seed, part))
