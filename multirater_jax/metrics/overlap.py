"""Additive counts: every score of this package is a formula on sums over pixels.

Counts of slices, tiles, batches, devices and processes add leaf by leaf (``add``); counts of all
slices are the counts of the volume. ``f`` is a foreground class, ``p`` a pixel.
"""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Shaped

from multirater_jax.metrics.calibration import CalibrationCounts, Numeric, count_calibration
from multirater_jax.metrics.correlation import CorrelationCounts, count_correlation

# Levels of agreement in tenths, compared strictly: 10 * sum > level * number. Integer votes are
# compared exactly so. Level 0 is the union; the others are the thresholds of the soft Dice.
LEVELS = (0, 1, 3, 5, 7, 9)


class PairCounts(NamedTuple):
  """Gram matrices of the hard masks; areas are their diagonals.

  A pair with a rater is compared on the pixels this rater annotated, a pair of raters on the
  pixels both annotated. All zero for a rater that drew on nothing.
  """

  cross: Float[Numeric, 'b f s r']  # pixels in sample s and in rater r's mask
  cross_area: Float[Numeric, 'b f s r']  # area of sample s on the pixels rater r annotated
  samples: Float[Numeric, 'b f s s']
  raters: Float[Numeric, 'b f r r']
  raters_area: Float[Numeric, 'b f r r']  # area of the first on the pixels the second annotated
  pixels: Float[Numeric, 'b r r']  # pixels both raters annotated
  extent: Float[Numeric, ' b']  # pixels anybody annotated


class LevelCounts(NamedTuple):
  """Areas above each of ``LEVELS`` of the samples' mean, of the raters' mean, and of both."""

  both: Float[Numeric, 'b f t']
  samples: Float[Numeric, 'b f t']
  raters: Float[Numeric, 'b f t']


class Counts(NamedTuple):
  """All counts of a batch of units; every leaf is additive."""

  pairs: PairCounts
  soft: LevelCounts  # mean probability against mean mask
  votes: LevelCounts  # mean hard sample against mean mask
  calibration: CalibrationCounts
  correlation: CorrelationCounts


def count(
  probs: Shaped[Numeric, 'b s h w k'],
  masks: Shaped[Numeric, 'b r h w'],
  annotated: Bool[Numeric, 'b r'],
  valid: Bool[Numeric, 'b h w'] | None = None,
) -> Counts:
  """Counts of a batch, one unit a row; jit-able, no communication between rows.

  Hard samples: foreground probability strictly above 0.5 for two classes, argmax for more. Pixels
  outside ``valid`` and rows nobody annotated (padding) count zero. Personalized outputs are
  counted like samples, one map a rater.
  Sums are float32: areas are exact below 2^24 pixels a row; add many rows on the host
  (``add_to_units``), which is float64.
  """
  probs, masks, annotated = jnp.asarray(probs), jnp.asarray(masks), jnp.asarray(annotated)
  b, s, h, w, k = probs.shape
  present = annotated.astype(jnp.float32)
  weight = (
    jnp.ones((b, h * w)) if valid is None else jnp.asarray(valid, jnp.float32).reshape(b, h * w)
  )
  weight = weight * annotated.any(1, keepdims=True)
  # One array a class: sums over samples read them as they lie, which is several times faster.
  planes = [probs[..., i].astype(jnp.float32).reshape(b, s, h * w) for i in range(k)]
  classes = _one_hot(masks.reshape(b, -1, h * w), k)
  raters = classes[:, 1:] * (present[:, :, None] * weight[:, None])[:, None]
  hard = harden(planes) * weight[:, None, None]
  total = jnp.stack([plane.sum(1) for plane in planes[1:]], 1)
  numbers = s, present.sum(1)
  return Counts(
    pairs=_count_pairs(hard, raters, present, weight),
    soft=_count_levels(total, raters.sum(2), numbers, weight),
    votes=_count_levels(hard.sum(2), raters.sum(2), numbers, weight),
    calibration=count_calibration(total / s, raters, present, weight),
    correlation=count_correlation(planes, classes, present, weight),
  )


def harden(planes: list[Float[Array, 'b s p']]) -> Float[Array, 'b f s p']:
  """Foreground masks, 0 or 1: strictly above 0.5 for two classes, argmax for more."""
  if len(planes) == 2:
    return (planes[1] > 0.5).astype(jnp.float32)[:, None]
  return _one_hot(jnp.stack(planes).argmax(0), len(planes))[:, 1:]


def _one_hot(index: Shaped[Array, 'b n p'], k: int) -> Float[Array, 'b k n p']:
  return (index[:, None] == jnp.arange(k)[:, None, None]).astype(jnp.float32)


def _count_pairs(
  samples: Float[Array, 'b f s p'],
  raters: Float[Array, 'b f r p'],
  present: Float[Array, 'b r'],
  weight: Float[Array, 'b p'],
) -> PairCounts:
  """From masks that are 0 outside ``weight``, so that their product needs no weight."""
  # Zeros and ones are exact in bfloat16, products are summed in float32.
  masks = jnp.concatenate([samples, raters], 2).astype(jnp.bfloat16)
  gram = jnp.einsum('bfip,bfjp->bfij', masks, masks, preferred_element_type=jnp.float32)
  s = samples.shape[2]
  area = jnp.diagonal(gram, axis1=2, axis2=3)[..., None] * present[:, None, None]
  both = present[:, :, None] * present[:, None, :]
  return PairCounts(
    cross=gram[:, :, :s, s:],
    cross_area=area[:, :, :s],
    samples=gram[:, :, :s, :s],
    raters=gram[:, :, s:, s:],
    raters_area=area[:, :, s:],
    pixels=both * weight.sum(1)[:, None, None],
    extent=weight.sum(1),
  )


def _count_levels(
  samples: Float[Array, 'b f p'],
  raters: Float[Array, 'b f p'],
  numbers: tuple[int, Float[Array, ' b']],
  weight: Float[Array, 'b p'],
) -> LevelCounts:
  """From sums over samples and over raters, and how many of each there are."""
  levels = jnp.array(LEVELS, jnp.float32)[:, None]
  above = ((10 * samples)[:, :, None] > levels * numbers[0]).astype(jnp.float32)
  voted = (10 * raters)[:, :, None] > levels * numbers[1][:, None, None, None]
  voted = voted * weight[:, None, None]
  return LevelCounts(
    both=jnp.einsum('bftp,bftp->bft', above, voted),
    samples=jnp.einsum('bftp,bp->bft', above, weight),
    raters=voted.sum(-1),
  )


def add(a: Counts, b: Counts) -> Counts:
  """Counts of two parts of the same units."""
  return jax.tree.map(operator.add, a, b)


def add_to_units(counts: Counts, unit: Integer[np.ndarray, ' b'], num_units: int) -> Counts:
  """Sum the rows of each unit on the host, in float64; ``unit`` numbers rows from 0."""

  def total(leaf: Numeric) -> np.ndarray:
    units = np.zeros((num_units, *leaf.shape[1:]), np.float64)
    np.add.at(units, unit, np.asarray(leaf, np.float64))
    return units

  return jax.tree.map(total, counts)


def zeros(num_units: int, num_samples: int, num_raters: int, num_classes: int) -> Counts:
  """Counts of nothing (host, float64): where a sum over batches starts."""
  shapes = jax.eval_shape(
    count,
    jax.ShapeDtypeStruct((num_units, num_samples, 1, 1, num_classes), jnp.float32),
    jax.ShapeDtypeStruct((num_units, num_raters, 1, 1), jnp.uint8),
    jax.ShapeDtypeStruct((num_units, num_raters), jnp.bool_),
  )
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float64), shapes)
