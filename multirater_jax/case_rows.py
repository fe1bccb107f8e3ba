"""Table rows of cases given as plain arrays: the predictions and two bounds."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Integer

from multirater_jax.metrics import Counts, bounds, unit_scores
from multirater_jax.metrics.case import Case, check_case, count_case
from multirater_jax.metrics.score import case_surface_scores
from multirater_jax.metrics.surface import unit_surface_scores
from multirater_jax.score_tables import Row

Spacing = tuple[float, ...] | None


class PlainCase(NamedTuple):
  """What ``multirater_jax.score`` takes, with a name for messages."""

  name: str
  samples: Float[np.ndarray, 's ...']
  masks: Integer[np.ndarray, 'r ...']
  annotated: Bool[np.ndarray, ' r']
  personalized: Float[np.ndarray, 'r ...'] | None
  spacing: Spacing


class _Scored(NamedTuple):
  """Counts [1 ...] and surface scores of one case and of its bounds."""

  model: Counts
  own: Counts | None
  raters: Counts  # [r ...]: a unit a left-out rater
  field: Counts
  surface: dict[str, float]
  rater_surface: dict[str, float]


def score_cases(
  cases: Iterable[PlainCase], *, protocol: str = 'standard', seed: int = 0
) -> list[Row]:
  """Rows ``predictions``, ``raters`` and ``mean field``, one score a case and column.

  All cases have the same numbers of samples and raters. ``seed`` draws the bound ``mean field``.

  Raises:
    ValueError: the arrays of a case do not fit together; the message starts with its name.
  """
  scored = [_score(case, seed, number) for number, case in enumerate(cases)]
  num_raters = scored[0].raters.pairs.pixels.shape[1]
  model = _join([unit.model for unit in scored])
  own = None if scored[0].own is None else _join([unit.own for unit in scored])
  field = _join([unit.field for unit in scored])
  left_out = unit_scores(_join([unit.raters for unit in scored]), None, protocol)
  return [
    Row(
      'predictions',
      'model',
      unit_scores(model, own, protocol) | _columns([unit.surface for unit in scored]),
      model,
      own,
    ),
    Row(
      'raters',
      'bound',
      bounds.rater_scores(left_out, num_raters) | _columns([unit.rater_surface for unit in scored]),
    ),
    Row('mean field', 'bound', unit_scores(field, None, protocol)),
  ]


def _score(plain: PlainCase, seed: int, number: int) -> _Scored:
  try:
    case = check_case(plain.samples, plain.masks, plain.annotated, plain.personalized)
    surface = case_surface_scores(case, plain.spacing)
  except ValueError as error:
    raise ValueError(f'{plain.name}: {error}') from error
  own = case.personalized
  return _Scored(
    model=count_case(case.probs, case.masks, case.annotated),
    own=None if own is None else count_case(own, case.masks, case.annotated),
    raters=_join(_left_out(case)),
    field=_mean_field_counts(case, jax.random.fold_in(jax.random.key(seed), number)),
    surface=surface,
    rater_surface=_rater_surface(case, plain.spacing),
  )


def _left_out(case: Case) -> list[Counts]:
  """Counts of every rater as the only sample, against the others."""
  classes = np.eye(case.probs.shape[-1], dtype=np.float32)
  others = case.annotated & case.annotated[:, None] & ~np.eye(len(case.masks), dtype=bool)
  pairs = zip(case.masks, others, strict=True)
  return [count_case(classes[mask][None], case.masks, left) for mask, left in pairs]


def _mean_field_counts(case: Case, rng: jax.Array) -> Counts:
  """Counts of independent pixels from the vote fractions, slice by slice."""
  s, depth, *_, k = case.probs.shape
  total = None
  for index in range(depth):
    masks, key = case.masks[:, index], jax.random.fold_in(rng, index)
    probs = np.asarray(_mean_field(key[None], masks[None], case.annotated[None], s, k))
    part = count_case(probs.swapaxes(0, 1), masks[:, None], case.annotated)
    total = part if total is None else jax.tree.map(np.add, total, part)
  return total


_mean_field = jax.jit(bounds.mean_field, static_argnums=(3, 4))


def _rater_surface(case: Case, spacing: Spacing) -> dict[str, float]:
  """Surface scores of every rater against the others, mean over the left-out raters."""
  volume = case.masks.shape[1] > 1
  masks = case.masks if volume else case.masks[:, 0]
  spacing = spacing if spacing is None or volume else spacing[-2:]
  drew = np.flatnonzero(case.annotated)
  found = [
    unit_surface_scores(
      masks[r][None],
      masks,
      case.annotated & (np.arange(len(masks)) != r),
      spacing,
      num_classes=case.probs.shape[-1],
    )
    for r in (drew if len(drew) > 1 else ())
  ]
  if not found:
    return {}
  return dict(zip(found[0]._fields, np.mean(found, axis=0).tolist(), strict=True))


def _join(counts: list[Counts]) -> Counts:
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *counts)


def _columns(scores: list[dict[str, float]]) -> dict[str, np.ndarray]:
  names = dict.fromkeys(name for unit in scores for name in unit)
  return {name: np.array([unit.get(name, np.nan) for unit in scores]) for name in names}
