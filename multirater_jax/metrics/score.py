"""Every score of one case from plain arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from multirater_jax.metrics.case import Case, check_case, count_case, harden
from multirater_jax.metrics.scores import unit_scores
from multirater_jax.metrics.surface import unit_surface_scores


def score(
  samples: ArrayLike,
  masks: ArrayLike,
  annotated: ArrayLike | None = None,
  personalized: ArrayLike | None = None,
  spacing: Sequence[float | int] | None = None,
  protocol: str = 'standard',
) -> dict[str, float]:
  """Score the samples of one case against its raters: all columns, NaN where undefined.

  Args:
    samples: [s, h, w] or [s, d, h, w], probabilities or binary; with more than one foreground
      class a last axis with the probabilities of all classes, background first.
    masks: [r, h, w] or [r, d, h, w], class numbers.
    annotated: [r], which raters drew; all by default.
    personalized: one map a rater, like ``samples``, in the order of the raters; adds the columns
      ``dice_rater``, ``dice_rater_gap``, ``area_bias`` and surface scores against the own rater.
    spacing: pixel size in mm, (h, w) or (d, h, w); without it surface distances are in pixels.
    protocol: 'standard', or the conventions of a publication: 'dpersona', 'diffoseg'.

  Raises:
    ValueError: the arrays do not fit together or hold no probabilities; one sentence says where.
  """
  case = check_case(samples, masks, annotated, personalized)
  counts = count_case(case.probs, case.masks, case.annotated)
  own = None
  if case.personalized is not None:
    own = count_case(case.personalized, case.masks, case.annotated)
  columns = unit_scores(counts, own, protocol)
  scores = {name: float(values[0]) for name, values in columns.items()}
  return scores | case_surface_scores(case, spacing)


def case_surface_scores(
  case: Case, spacing: Sequence[float | int] | None = None
) -> dict[str, float]:
  """``hd95``, ``assd``, ``nsd`` of the consensus, and ``_rater`` of personalized outputs.

  The consensus is the mean over samples, made hard like a sample; it is compared with every
  rater's mask, personalized outputs with the mask of their own rater.
  """
  volume = case.masks.shape[1] > 1
  if spacing is not None and not volume:
    spacing = spacing[-2:]

  def space(array: np.ndarray) -> np.ndarray:
    return array if volume else array[:, 0]

  outputs = {'': case.probs.mean(0, keepdims=True)}
  if case.personalized is not None:
    outputs['_rater'] = case.personalized
  scores = {}
  for suffix, probs in outputs.items():
    masks, output = space(case.masks), space(harden(probs))
    result = unit_surface_scores(
      output, masks, case.annotated, spacing, num_classes=probs.shape[-1]
    )
    scores |= {f'{name}{suffix}': value for name, value in result._asdict().items()}
  return scores
