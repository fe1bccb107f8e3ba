"""Surface distances of a test split: predictions put together from their tiles, on the host."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from multirater_jax import sharding
from multirater_jax.experiment import Experiment
from multirater_jax.method import Batch
from multirater_jax.metrics.surface import unit_surface_scores
from multirater_jax.scoring import Units, record_cases


class _Canvas(NamedTuple):
  """One record as far as it was scored; zero elsewhere."""

  output: np.ndarray  # [h w], or [r h w] of a personalized output
  masks: np.ndarray  # [r h w]
  annotated: np.ndarray  # [r]


class Surfaces:
  """Collects hard outputs batch by batch; then ``columns`` holds hd95, assd and nsd of every unit.

  Distances are measured in the plane of a record and averaged over the records of a unit, in mm
  where the spacing is known. Samples are compared by their consensus, personalized outputs with
  their own rater.
  """

  def __init__(self, experiment: Experiment, *, personalized: bool):
    self._experiment, self._personalized = experiment, personalized
    self._canvases: dict[int, _Canvas] = {}

  def add(self, batch: Batch, probs: jax.Array) -> None:
    """Takes the predictions of a batch [b s h w k]; all processes call it."""
    outputs = _rater_classes(probs) if self._personalized else _consensus_classes(probs)
    fields = ('index', 'corner', 'valid', 'masks', 'annotated')
    rows = zip(*(sharding.local_rows(v) for v in (outputs, *map(batch.get, fields))), strict=True)
    for output, index, corner, valid, masks, annotated in rows:
      if index >= 0:
        self._paste(int(index), corner, valid, output, masks, annotated)

  def _paste(self, index, corner, valid, output, masks, annotated) -> None:
    size = [max(n, valid.shape[0]) for n in self._experiment.source.info.records[index]['size']]
    canvas = self._canvases.setdefault(
      index,
      _Canvas(
        np.zeros((*output.shape[:-2], *size), np.uint8),
        np.zeros((len(masks), *size), np.uint8),
        annotated,
      ),
    )
    area = (..., *(slice(c, c + n) for c, n in zip(corner, valid.shape, strict=True)))
    canvas.output[area] += (output * valid).astype(np.uint8)  # every pixel is valid in one tile
    canvas.masks[area] += masks * valid

  def columns(self, units: Units) -> dict[str, np.ndarray]:
    """``hd95``, ``assd`` and ``nsd`` of every unit, with ``_rater`` for personalized outputs."""
    records = np.array(sorted(self._canvases))
    scores = np.array([self._score(int(index)) for index in records])
    names = record_cases(self._experiment, records) if units.column == 'case' else records
    means = np.stack([_mean(scores[names == number]) for number in units.numbers])
    ending = '_rater' if self._personalized else ''
    return {f'{name}{ending}': means[:, i] for i, name in enumerate(('hd95', 'assd', 'nsd'))}

  def _score(self, index: int):
    canvas, source = self._canvases[index], self._experiment.source
    spacing = source[index]['spacing']
    return unit_surface_scores(
      canvas.output.reshape(-1, *canvas.masks.shape[1:]),
      canvas.masks,
      canvas.annotated,
      tuple(spacing.tolist()) if np.isfinite(spacing).all() else None,
      num_classes=source.info.num_classes,
    )


def _mean(scores: np.ndarray) -> np.ndarray:
  known = scores[~np.isnan(scores).any(axis=1)]
  return known.mean(axis=0) if len(known) else np.full(scores.shape[1], np.nan)


@jax.jit
def _consensus_classes(probs):
  return probs.mean(1).argmax(-1).astype(jnp.uint8)


@jax.jit
def _rater_classes(probs):
  return probs.argmax(-1).astype(jnp.uint8)
