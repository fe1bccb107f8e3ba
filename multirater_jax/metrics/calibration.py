"""Calibration of the mean probability against the vote fraction, from one additive histogram.

The histogram is fine (``FINE_BINS`` equal bins). The usual ten bins, the equal-mass bins of the
adaptive error and every reliability curve are sums of neighboring fine bins.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

Numeric = Array | np.ndarray

FINE_BINS = 100
BINS = 10


class CalibrationCounts(NamedTuple):
  """Sums over the annotated pixels of a unit, per foreground class and fine bin ``n``."""

  pixels: Float[Numeric, 'b f n']
  confidence: Float[Numeric, 'b f n']  # sum of the mean probability
  frequency: Float[Numeric, 'b f n']  # sum of the vote fraction
  squared_error: Float[Numeric, 'b f']  # sum of (mean probability - vote fraction)^2
  rater_pixels: Float[Numeric, 'b f r n']
  rater_confidence: Float[Numeric, 'b f r n']
  rater_frequency: Float[Numeric, 'b f r n']  # pixels inside the rater's mask


class Reliability(NamedTuple):
  """A reliability curve; empty bins hold NaN."""

  edges: Float[np.ndarray, ' m']
  confidence: Float[np.ndarray, ' n']
  frequency: Float[np.ndarray, ' n']
  count: Float[np.ndarray, ' n']


def count_calibration(
  consensus: Float[Array, 'b f p'],
  raters: Float[Array, 'b f r p'],
  annotated: Float[Array, 'b r'],
  weight: Float[Array, 'b p'],
) -> CalibrationCounts:
  """Histogram of the consensus with the raters' votes in every bin.

  A value on an edge belongs to the upper bin (tolerance 1e-6), 1 to the last. ``raters`` is 0
  where a rater did not draw or a pixel counts nowhere, which ``weight`` marks by 0.
  """
  votes = raters.sum(2) / jnp.maximum(annotated.sum(1), 1)[:, None, None]
  lanes = jnp.concatenate(
    [jnp.ones_like(consensus)[:, :, None], consensus[:, :, None], votes[:, :, None], raters], 2
  )
  sums = _histogram(_fine_bin(consensus), lanes * weight[:, None, None])
  present = annotated[:, None, :, None]
  return CalibrationCounts(
    pixels=sums[:, :, 0],
    confidence=sums[:, :, 1],
    frequency=sums[:, :, 2],
    squared_error=((consensus - votes) ** 2 * weight[:, None]).sum(-1),
    rater_pixels=sums[:, :, :1] * present,
    rater_confidence=sums[:, :, 1:2] * present,
    rater_frequency=sums[:, :, 3:],
  )


def _fine_bin(consensus: Float[Array, '...']) -> Integer[Array, '...']:
  # A vote such as 7 of 10 may come out a rounding error below its edge.
  index = jnp.floor(consensus * FINE_BINS + 1e-4).astype(jnp.int32)
  return jnp.clip(index, 0, FINE_BINS - 1)


def _histogram(
  index: Integer[Array, 'b f p'], lanes: Float[Array, 'b f l p']
) -> Float[Array, 'b f l n']:
  def one(index: Integer[Array, ' p'], lanes: Float[Array, 'l p']) -> Float[Array, 'l n']:
    return jax.ops.segment_sum(lanes.T, index, FINE_BINS).T

  return jax.vmap(jax.vmap(one))(index, lanes)


def ece(counts: CalibrationCounts, bins: int = BINS) -> Float[Array, ' b']:
  """Expected calibration error of the consensus, mean over foreground classes.

  ECE = sum_m n_m / n |conf_m - freq_m| over ``bins`` equal bins (a divisor of 100) and all
  annotated pixels; freq is the vote fraction. NaN without a pixel.

  Source: Naeini et al. 2015; Guo et al. 2017 (arXiv:1706.04599), section 2.
  """
  merge = jnp.repeat(jnp.eye(bins), FINE_BINS // bins, axis=0)
  gap = jnp.abs((counts.confidence - counts.frequency) @ merge).sum(-1)
  return _divide(gap, counts.pixels.sum(-1)).mean(-1)


def adaptive_ece(counts: CalibrationCounts, bins: int = BINS) -> Float[Array, ' b']:
  """Calibration error over bins of (nearly) equal mass, mean over foreground classes.

  A fine bin is never split: it joins the equal-mass bin in which its middle pixel falls, so the
  value is exact for probabilities that are multiples of 0.01 and equal mass holds up to ties.

  Source: Nixon et al. 2019 (arXiv:1904.01685), section 3, for one class.
  """
  total = counts.pixels.sum(-1, keepdims=True)
  middle = jnp.cumsum(counts.pixels, -1) - counts.pixels / 2
  index = jnp.floor(_divide(middle, total) * bins)
  merge = jax.nn.one_hot(jnp.clip(jnp.nan_to_num(index), 0, bins - 1).astype(jnp.int32), bins)
  gap = jnp.einsum('bfn,bfnm->bfm', counts.confidence - counts.frequency, merge)
  return _divide(jnp.abs(gap).sum(-1), total[..., 0]).mean(-1)


def brier(counts: CalibrationCounts) -> Float[Array, ' b']:
  """Mean squared distance of the consensus from the vote fraction, mean over foreground classes.

  Source: Brier 1950, with the vote fraction as the observed frequency.
  """
  return _divide(counts.squared_error, counts.pixels.sum(-1)).mean(-1)


def rater_ece(counts: CalibrationCounts, bins: int = BINS) -> Float[Array, 'b r']:
  """ECE of the consensus against each rater's own mask; NaN where a rater did not draw."""
  merge = jnp.repeat(jnp.eye(bins), FINE_BINS // bins, axis=0)
  gap = jnp.abs((counts.rater_confidence - counts.rater_frequency) @ merge).sum(-1)
  return _divide(gap, counts.rater_pixels.sum(-1)).mean(1)


def reliability(counts: CalibrationCounts, bins: int = BINS) -> Reliability:
  """One curve over all units and foreground classes; computed on the host in float64."""

  def merge(leaf: Numeric) -> np.ndarray:
    fine = np.asarray(leaf, np.float64).reshape(-1, FINE_BINS).sum(0)
    return fine.reshape(bins, -1).sum(1)

  count = merge(counts.pixels)
  with np.errstate(invalid='ignore', divide='ignore'):
    confidence, frequency = merge(counts.confidence) / count, merge(counts.frequency) / count
  return Reliability(np.linspace(0, 1, bins + 1), confidence, frequency, count)


def _divide(a: Numeric, b: Numeric) -> Array:
  return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), jnp.nan)
