"""Pictures for the report: typical, best and worst images of the test split with all outputs."""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from multirater_jax import sharding
from multirater_jax.experiment import Experiment, make_method, outputs_of, stage_key
from multirater_jax.method import image_keys
from multirater_jax.score_tables import Row
from multirater_jax.scoring import batches_of, make_predict, units_of

_MOST_SAMPLES = 8  # shown; consensus and uncertainty use all


def write_panels(experiment: Experiment, stages: dict[str, Any], rows: list[Row]) -> None:
  """Writes ``evaluation/panels.npz``: images chosen by the GED of the first row.

  Of an image in tiles the tile with the most foreground is shown.
  """
  chosen = _choose(experiment, rows[0].scores['ged'])
  batch = _rows_of(experiment, np.array([index for index, _, _ in chosen]))
  records = experiment.source.info.records
  panels = {
    'image': batch['image'],
    'masks': batch['masks'],
    'annotated': batch['annotated'],
    'name': np.array([records[index]['name'] for index, _, _ in chosen]),
    'kind': np.array([kind for _, kind, _ in chosen]),
    'ged': np.array([ged for _, _, ged in chosen], np.float32),
  }
  for output in outputs_of(experiment.config):
    params = stages[output.stage]
    params = params if jax.process_count() == 1 else jax.device_get(params)
    panels |= _draw(experiment, output, params, batch)
  path = experiment.workdir / 'evaluation' / 'panels.npz'
  temporary = path.with_name('.panels.npz')
  np.savez_compressed(temporary, **panels)
  os.replace(temporary, path)


def _choose(experiment: Experiment, ged: np.ndarray) -> list[tuple[int, str, float]]:
  """Records with kind and GED: a third each around the median, from the best, from the worst."""
  records = experiment.records['test']
  units = units_of(experiment, records)
  order = np.argsort(ged)
  marked = [u for u in order if _has_foreground(experiment, units, u)] or list(order)
  third = max(min(experiment.config.evaluation.panels, len(marked)) // 3, 1)
  start = max((len(marked) - third) // 2, 0)
  groups = {
    'typical': marked[start : start + third],
    'best': marked[:third],
    'worst': marked[::-1][:third],
  }
  return [
    (_record_of(experiment, units, u), kind, float(ged[u]))
    for kind, group in groups.items()
    for u in group
  ]


def _records_of_unit(experiment, units, unit):
  """The test records that make up a unit."""
  if units.column == 'index':
    return [int(units.numbers[unit])]
  name = experiment.source.case_names[units.numbers[unit]]
  cases = experiment.source.info.cases
  return [int(index) for index in experiment.records['test'] if cases[index] == name]


def _area(experiment, index):
  return sum(area or 0 for area in experiment.source.info.records[index]['areas'])


def _has_foreground(experiment, units, unit):
  return any(_area(experiment, i) for i in _records_of_unit(experiment, units, unit))


def _record_of(experiment, units, unit):
  """The record with the most foreground among those of a unit."""
  return max(_records_of_unit(experiment, units, unit), key=lambda i: _area(experiment, i))


def _rows_of(experiment: Experiment, indices: np.ndarray) -> dict[str, np.ndarray]:
  """One row of an evaluation batch for each record: the tile with the most foreground."""
  best = {}
  for batch in batches_of(experiment, np.unique(indices), alone=True):
    for row in range(len(batch['index'])):
      index, area = int(batch['index'][row]), int((batch['masks'][row] > 0).sum())
      if index >= 0 and (index not in best or area > best[index][0]):
        best[index] = area, {key: value[row] for key, value in batch.items()}
  rows = [best[int(index)][1] for index in indices]
  return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def _draw(experiment, output, params, batch) -> dict[str, np.ndarray]:
  """What an output adds to the panels: samples with consensus and uncertainty, or rater maps."""
  predict = make_predict(
    make_method(experiment, output.stage),
    verb=output.verb,
    num_samples=experiment.config.evaluation.num_samples,
    num_raters=len(experiment.source.info.raters),
  )
  rng = jax.random.fold_in(stage_key(experiment, output.stage), 3)
  unit = batch['case' if experiment.config.data.score_by == 'case' else 'index']
  probs = _predicted(experiment, functools.partial(predict, params), rng, unit, batch['image'])
  hard = probs.argmax(-1).astype(np.uint8)
  if output.verb == 'personalize':
    return {'personalized': hard}
  foreground = probs[..., 1:].sum(-1)
  mean = probs.mean(1)
  return {
    'samples': hard[:, :_MOST_SAMPLES],
    'consensus': mean[..., 1:].sum(-1).astype(np.float32),
    'entropy': -(mean * np.log(np.maximum(mean, 1e-12))).sum(-1).astype(np.float32),
    'disagreement': foreground.var(1).astype(np.float32),
  }


def _predicted(
  experiment: Experiment, predict: Callable, rng: jax.Array, unit: np.ndarray, image: np.ndarray
) -> np.ndarray:
  """Outputs of all images, in batches of the shape that scoring compiled ``predict`` for.

  The first process works alone here; where there are others it has to compile it anew.
  """
  size, together = experiment.config.data.eval_batch_size, jax.process_count() == 1
  place = functools.partial(sharding.place_batch, experiment.mesh) if together else np.asarray
  found = []
  with jax.set_mesh(experiment.mesh) if together else contextlib.nullcontext():
    for start in range(0, len(unit), size):
      rows = np.arange(start, start + size).clip(max=len(unit) - 1)
      probs = predict(image_keys(rng, place(unit[rows])), place(image[rows]))
      found.append(np.asarray(probs)[: len(unit) - start])
  return np.concatenate(found)
