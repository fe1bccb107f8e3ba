"""Agreement of samples with raters: formulas on the counts, for many units at once.

Everything here is jit-able and batched over units except what ``matching.py`` does on the host.
Foreground classes are scored first and averaged inside each pair; raters that did not draw on a
unit do not enter, and a unit without a rater gives NaN.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from multirater_jax.metrics.calibration import Numeric
from multirater_jax.metrics.overlap import LevelCounts, PairCounts


class Ged(NamedTuple):
  """Generalized energy distance and its three components."""

  value: Float[Array, ' b']
  cross: Float[Array, ' b']
  samples: Float[Array, ' b']
  raters: Float[Array, ' b']


def present_raters(pairs: PairCounts) -> Bool[Array, 'b r']:
  """Which raters drew on a unit at all."""
  return jnp.diagonal(pairs.pixels, axis1=1, axis2=2) > 0


def iou(
  both: Numeric, area_a: Numeric, area_b: Numeric, *, empty: float = 1.0
) -> Float[Array, '...']:
  """|A and B| / |A or B|, and ``empty`` for two empty masks."""
  union = area_a + area_b - both
  return jnp.where(union > 0, both / jnp.maximum(union, 1), empty)


def dice(both: Numeric, area_a: Numeric, area_b: Numeric) -> Float[Array, '...']:
  """2 |A and B| / (|A| + |B|); two empty masks 1, one empty mask 0."""
  total = area_a + area_b
  return jnp.where(total > 0, 2 * both / jnp.maximum(total, 1), 1.0)


def cross_iou(pairs: PairCounts, *, empty: float = 1.0) -> Float[Array, 'b s r']:
  """IoU of every sample with every rater, mean over foreground classes."""
  return iou(pairs.cross, pairs.cross_area, _rater_areas(pairs), empty=empty).mean(1)


def cross_dice(pairs: PairCounts) -> Float[Array, 'b s r']:
  """Dice of every sample with every rater, mean over foreground classes."""
  return dice(pairs.cross, pairs.cross_area, _rater_areas(pairs)).mean(1)


def samples_iou(pairs: PairCounts, *, empty: float = 1.0) -> Float[Array, 'b s s']:
  """IoU of every pair of samples, mean over foreground classes."""
  area = jnp.diagonal(pairs.samples, axis1=2, axis2=3)
  return iou(pairs.samples, area[..., None], area[:, :, None], empty=empty).mean(1)


def raters_iou(pairs: PairCounts, *, empty: float = 1.0) -> Float[Array, 'b r r']:
  """IoU of every pair of raters on what both annotated, mean over foreground classes."""
  area = jnp.asarray(pairs.raters_area)
  return iou(pairs.raters, area, area.swapaxes(2, 3), empty=empty).mean(1)


def ged(pairs: PairCounts, *, empty_distance: float = 0.0) -> Ged:
  """Generalized energy distance between samples and raters (squared, V-statistic).

  GED = 2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')],  d = 1 - mean foreground IoU.
  Means run over full matrices, diagonal included; two empty masks have distance
  ``empty_distance`` (0 standard, 1 D-Persona). 0 is best, 2 is worst.

  Source: Kohl et al. 2018 (arXiv:1806.05034), section 3; Szekely and Rizzo 2013.
  """
  cross, samples, raters = _distances(pairs, 1 - empty_distance)
  everyone = present_raters(pairs)[:, None]
  cross = _mean(cross, everyone)
  samples = jnp.where(everyone.any((1, 2)), samples.mean((1, 2)), jnp.nan)
  raters = _mean(raters, pairs.pixels > 0)
  return Ged(2 * cross - samples - raters, cross, samples, raters)


def ged_unbiased(pairs: PairCounts, *, empty_distance: float = 0.0) -> Float[Array, ' b']:
  """The U-statistic: pairs of a mask with itself do not enter; may be negative.

  Its mean does not depend on the number of samples. NaN with fewer than two samples or raters.
  """
  cross, samples, raters = _distances(pairs, 1 - empty_distance)
  cross = _mean(cross, present_raters(pairs)[:, None])
  samples = _mean(samples, ~jnp.eye(samples.shape[1], dtype=bool))
  raters = _mean(raters, (pairs.pixels > 0) & ~jnp.eye(raters.shape[1], dtype=bool))
  return 2 * cross - samples - raters


def _distances(
  pairs: PairCounts, empty: float
) -> tuple[Float[Array, 'b s r'], Float[Array, 'b s s'], Float[Array, 'b r r']]:
  return (
    1 - cross_iou(pairs, empty=empty),
    1 - samples_iou(pairs, empty=empty),
    1 - raters_iou(pairs, empty=empty),
  )


def dice_soft(levels: LevelCounts) -> Float[Array, ' b']:
  """Dice of mean probability against mean mask above .1 .3 .5 .7 .9, mean over the thresholds.

  Strict comparison on both sides; both empty at a threshold, or nothing annotated: 1.

  Source: Ji et al. 2021 (MRNet), section 4; thresholds of the QUBIQ challenge.
  """
  # Level 0 is the union, not a threshold.
  return dice(levels.both, levels.samples, levels.raters)[..., 1:].mean((1, 2))


def dice_max_samples(pairs: PairCounts) -> Float[Array, ' b']:
  """Mean over samples of the best rater: is every sample plausible?"""
  present = present_raters(pairs)
  best = jnp.where(present[:, None], cross_dice(pairs), -jnp.inf).max(2).mean(1)
  return jnp.where(present.any(1), best, jnp.nan)


def dice_max_raters(pairs: PairCounts) -> Float[Array, ' b']:
  """Mean over raters of the best sample: is every rater covered?"""
  return _mean(cross_dice(pairs).max(1), present_raters(pairs))


def ci_score(pairs: PairCounts, votes: LevelCounts) -> Float[Array, ' b']:
  """Collective insight: 3 S D A / (S + D + A), in [0, 1]; 0 if all three are 0.

  S: sensitivity of the union of the samples for the union of the masks (no mask: 1).
  D: ``dice_max_raters``. A: ``diversity_agreement``.

  Source: Rahman et al. 2023 (CIMD, arXiv:2304.04745), section 3.4.
  """
  union = jnp.asarray(votes.raters)[..., 0]
  covered = jnp.asarray(votes.both)[..., 0] / jnp.maximum(union, 1)
  sensitivity = jnp.where(union > 0, covered, 1).mean(1)
  best = dice_max_raters(pairs)
  agreement = diversity_agreement(pairs)
  total = sensitivity + best + agreement
  score = 3 * sensitivity * best * agreement / jnp.where(total > 0, total, 1)
  return jnp.where(present_raters(pairs).any(1), score, jnp.nan)


def diversity_agreement(pairs: PairCounts) -> Float[Array, ' b']:
  """Do samples differ from each other as little and as much as raters do? In [0, 1].

  A = 1 - (|dVmin| + |dVmax|) / 2, where dVmin and dVmax compare the smallest and largest pair
  variance of the samples with those of the raters. A pair's variance is that of the difference
  of two different masks over pixels; it is 0 with a single mask.

  Source: Rahman et al. 2023 (CIMD), section 3.4, which leaves the pair variance open; read as by
  Christensen et al. 2025 (arXiv:2504.05977).
  """
  area = jnp.diagonal(pairs.samples, axis1=2, axis2=3)[..., None]
  samples = _pair_variance(pairs.samples, area, area.swapaxes(2, 3), pairs.extent[:, None, None])
  area = jnp.asarray(pairs.raters_area)
  raters = _pair_variance(pairs.raters, area, area.swapaxes(2, 3), pairs.pixels)
  low, high = _range(samples, jnp.ones_like(samples, dtype=bool))
  rater_low, rater_high = _range(raters, pairs.pixels > 0)
  return 1 - (jnp.abs(low - rater_low) + jnp.abs(high - rater_high)) / 2


def _pair_variance(
  both: Numeric, area_a: Numeric, area_b: Numeric, pixels: Numeric
) -> Float[Array, 'b n n']:
  """Variance over pixels of A - B, mean over foreground classes."""
  pixels = jnp.maximum(pixels, 1)[:, None]
  mean = (area_a - area_b) / pixels
  return ((area_a + area_b - 2 * both) / pixels - mean**2).mean(1)


def _range(
  matrix: Float[Array, 'b n n'], present: Bool[Array, 'b n n']
) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
  """Smallest and largest entry off the diagonal, 0 if there is none."""
  mask = present & ~jnp.eye(matrix.shape[1], dtype=bool)
  some = mask.any((1, 2))
  low = jnp.where(mask, matrix, jnp.inf).min((1, 2))
  high = jnp.where(mask, matrix, -jnp.inf).max((1, 2))
  return jnp.where(some, low, 0), jnp.where(some, high, 0)


def dice_matrix(pairs: PairCounts) -> Float[Array, 'b r r']:
  """Row: personalized output, column: rater's mask. NaN where that rater did not draw."""
  return jnp.where(present_raters(pairs)[:, None], cross_dice(pairs), jnp.nan)


def dice_rater(pairs: PairCounts) -> Float[Array, 'b r']:
  """Dice of rater r's output against rater r's mask: pairing by identity, NaN if r did not draw."""
  return jnp.diagonal(dice_matrix(pairs), axis1=1, axis2=2)


def dice_rater_gap(pairs: PairCounts) -> Float[Array, 'b r']:
  """Own rater minus the mean of the other raters, per output; real personalization is above 0.

  NaN where rater r did not draw or nobody else did.
  """
  others = present_raters(pairs)[:, None] & ~jnp.eye(pairs.pixels.shape[1], dtype=bool)
  mean = jnp.where(others, cross_dice(pairs), 0).sum(2) / jnp.maximum(others.sum(2), 1)
  return jnp.where(others.any(2), dice_rater(pairs) - mean, jnp.nan)


def area_bias(pairs: PairCounts) -> Float[Array, 'b r']:
  """Signed relative area error of rater r's output, 2 (|P| - |Y|) / (|P| + |Y|), in [-2, 2].

  Above 0: too large. 0 if both are empty; NaN if r did not draw. Mean over foreground classes.
  """
  output = jnp.diagonal(pairs.cross_area, axis1=2, axis2=3)
  mask = jnp.diagonal(pairs.raters, axis1=2, axis2=3)
  bias = 2 * (output - mask) / jnp.maximum(output + mask, 1)
  return jnp.where(present_raters(pairs), bias.mean(1), jnp.nan)


def empty_share(pairs: PairCounts) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
  """Fractions of empty masks among raters (p_e) and samples (q_e), mean over foreground classes.

  Two classes: GED with distance 1 for two empty masks = standard GED - (p_e - q_e)^2, as long as
  every rater drew on every row of the unit.
  """
  present = present_raters(pairs)
  raters = (jnp.diagonal(pairs.raters, axis1=2, axis2=3) == 0).mean(1)
  samples = (jnp.diagonal(pairs.samples, axis1=2, axis2=3) == 0).mean((1, 2))
  return _mean(raters, present), jnp.where(present.any(1), samples, jnp.nan)


def _rater_areas(pairs: PairCounts) -> Float[Array, 'b f 1 r']:
  return jnp.diagonal(pairs.raters, axis1=2, axis2=3)[:, :, None]


def _mean(values: Float[Array, 'b ...'], mask: Bool[Array, '...']) -> Float[Array, ' b']:
  """Mean over all axes but the first where ``mask``; NaN where it is nowhere true."""
  axes = tuple(range(1, values.ndim))
  mask = jnp.broadcast_to(mask, values.shape)
  number = mask.sum(axes)
  mean = jnp.where(mask, values, 0).sum(axes) / jnp.maximum(number, 1)
  return jnp.where(number > 0, mean, jnp.nan)
