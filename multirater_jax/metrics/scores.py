"""All columns of the score tables from counts: the entry the evaluator uses."""

from collections.abc import Mapping
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from multirater_jax.metrics import agreement, calibration, correlation, matching
from multirater_jax.metrics.overlap import Counts, PairCounts

Protocol = Literal['standard', 'dpersona', 'diffoseg']

# Order of the columns in tables; columns of a protocol and of single raters follow.
COLUMNS = (
  'ged',
  'ged_dpersona',
  'dice_soft',
  'dice_max_samples',
  'dice_max_raters',
  'dice_max',
  'dice_match',
  'hm_iou',
  'ncc',
  'ci_score',
  'ece',
  'ece_adaptive',
  'ece_rater',
  'brier',
  'ged_cross',
  'ged_samples',
  'ged_raters',
  'ged_unbiased',
  'ged_dpersona_cross',
  'ged_dpersona_samples',
  'ged_dpersona_raters',
  'dice_soft_hard',
  'empty_raters',
  'empty_samples',
  'dice_rater',
  'dice_rater_gap',
  'area_bias',
)


def unit_scores(
  counts: Counts, personalized_counts: Counts | None = None, protocol: str = 'standard'
) -> dict[str, np.ndarray]:
  """Every column for every unit, ``[units]`` each; NaN where a score is undefined.

  ``personalized_counts`` are ``count`` of one map a rater and add the ``dice_rater``,
  ``dice_rater_gap`` and ``area_bias`` columns (mean over raters, then per rater from 1).
  ``protocol`` recomputes ``ged``, ``dice_soft`` and ``dice_max`` as a publication does:
  'dpersona' (two empty masks have distance 1) or 'diffoseg' (also hard samples in ``dice_soft``,
  and the best sample per rater as ``dice_max``).

  Raises:
    ValueError: an unknown protocol, or personalized outputs that are not one per rater.
  """
  if protocol not in get_args(Protocol):
    raise ValueError(f'protocol is {protocol!r}; it must be one of {", ".join(get_args(Protocol))}')
  on_device, matrices = _sample_columns(counts)
  columns = _to_numpy(on_device) | _matched_columns(*(np.asarray(x) for x in matrices))
  if personalized_counts is not None:
    columns |= _personalized_columns(personalized_counts.pairs)
  columns['ncc'] = correlation.ncc(counts.correlation)
  columns = _as_published(columns, protocol)
  return {name: columns[name] for name in COLUMNS if name in columns} | columns


def dice_matrix(personalized_counts: Counts) -> Float[np.ndarray, 'r r']:
  """Mean Dice over units, row: personalized output, column: rater; NaN for a rater never seen."""
  matrix = np.asarray(agreement.dice_matrix(personalized_counts.pairs), np.float64)
  seen = ~np.isnan(matrix)
  number = seen.sum(0)
  total = np.where(seen, matrix, 0).sum(0)
  return np.where(number > 0, total / np.maximum(number, 1), np.nan)


@jax.jit
def _sample_columns(counts: Counts) -> tuple[dict[str, Array], tuple[Array, Array, Array]]:
  """The columns that need no matching, and what the matched ones need."""
  pairs = counts.pairs
  standard, family = agreement.ged(pairs), agreement.ged(pairs, empty_distance=1.0)
  best_rater, best_sample = agreement.dice_max_samples(pairs), agreement.dice_max_raters(pairs)
  empty_raters, empty_samples = agreement.empty_share(pairs)
  columns = {
    'ged': standard.value,
    'ged_cross': standard.cross,
    'ged_samples': standard.samples,
    'ged_raters': standard.raters,
    'ged_unbiased': agreement.ged_unbiased(pairs),
    'ged_dpersona': family.value,
    'ged_dpersona_cross': family.cross,
    'ged_dpersona_samples': family.samples,
    'ged_dpersona_raters': family.raters,
    'dice_soft': agreement.dice_soft(counts.soft),
    'dice_soft_hard': agreement.dice_soft(counts.votes),
    'dice_max_samples': best_rater,
    'dice_max_raters': best_sample,
    'dice_max': (best_rater + best_sample) / 2,
    'ci_score': agreement.ci_score(pairs, counts.votes),
    'ece': calibration.ece(counts.calibration),
    'ece_adaptive': calibration.adaptive_ece(counts.calibration),
    'ece_rater': jnp.nanmean(calibration.rater_ece(counts.calibration), 1),
    'brier': calibration.brier(counts.calibration),
    'empty_raters': empty_raters,
    'empty_samples': empty_samples,
  }
  some = pairs.extent > 0
  columns = {name: jnp.where(some, values, jnp.nan) for name, values in columns.items()}
  matrices = agreement.cross_dice(pairs), agreement.cross_iou(pairs)
  return columns, (*matrices, agreement.present_raters(pairs))


def _matched_columns(
  dice: Float[np.ndarray, 'b s r'],
  iou: Float[np.ndarray, 'b s r'],
  present: Bool[np.ndarray, 'b r'],
) -> dict[str, np.ndarray]:
  return {
    'dice_match': matching.dice_match(dice, present),
    'hm_iou': matching.hm_iou(iou, present),
  }


@jax.jit
def _rater_columns(pairs: PairCounts) -> dict[str, Array]:
  return {
    'dice_rater': agreement.dice_rater(pairs),
    'dice_rater_gap': agreement.dice_rater_gap(pairs),
    'area_bias': agreement.area_bias(pairs),
  }


def _personalized_columns(pairs: PairCounts) -> dict[str, np.ndarray]:
  num_outputs, num_raters = pairs.cross.shape[2:]
  if num_outputs != num_raters:
    raise ValueError(
      f'there are {num_outputs} personalized outputs for {num_raters} raters; give one per rater'
    )
  columns = {}
  for name, values in _to_numpy(_rater_columns(pairs)).items():
    seen = ~np.isnan(values)
    total = np.where(seen, values, 0).sum(1)
    columns[name] = np.where(seen.any(1), total / np.maximum(seen.sum(1), 1), np.nan)
    columns |= {f'{name}_{r + 1}': values[:, r] for r in range(num_raters)}
  return columns


def _as_published(columns: dict[str, np.ndarray], protocol: str) -> dict[str, np.ndarray]:
  """The same columns, some under a publication's convention; its quirks under their own names."""
  if protocol == 'standard':
    return columns
  columns = dict(columns)
  for part in ('', '_cross', '_samples', '_raters'):
    columns[f'ged{part}'] = columns[f'ged_dpersona{part}']
  columns['dice_each'] = columns['dice_match']
  if protocol == 'diffoseg':
    columns['dice_soft'] = columns['dice_soft_hard']
    columns['dice_max'] = columns['dice_max_raters']
    # Outputs tiled once per rater before matching: each rater may take the best one.
    columns['dice_match_tiled'] = columns['dice_max_raters']
  return columns


def _to_numpy(columns: Mapping[str, Array]) -> dict[str, np.ndarray]:
  return {name: np.asarray(values, np.float64) for name, values in columns.items()}
