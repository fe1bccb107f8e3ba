"""Predict a part of the split and count: what validation and evaluation have in common."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from multirater_jax import sharding
from multirater_jax.data.tiles import eval_batches, num_eval_batches
from multirater_jax.experiment import Experiment
from multirater_jax.method import Batch, Method, image_keys
from multirater_jax.metrics import Counts, add_to_units, bounds, count
from multirater_jax.progress import follow

VERBS = ('sample', 'personalize')  # what a stage is scored on

Counter = Callable[[Batch, jax.Array], Counts]  # (batch, one key per row) -> counts of its rows


class Units(NamedTuple):
  """What is scored: records, or cases where whole volumes are."""

  numbers: np.ndarray  # [u] of the record or case, ascending
  case: np.ndarray  # [u] number of the case, which bootstrap resamples
  column: str  # the field of a batch that names a row's unit


def units_of(experiment: Experiment, records: np.ndarray) -> Units:
  """The units that the records make up."""
  cases = record_cases(experiment, records)
  if experiment.config.data.score_by == 'case':
    numbers = np.unique(cases)
    return Units(numbers, numbers, 'case')
  order = np.argsort(records)
  return Units(records[order], cases[order], 'index')


def record_cases(experiment: Experiment, records: np.ndarray) -> np.ndarray:
  """The number of the case of every record."""
  number = {name: n for n, name in enumerate(experiment.source.case_names)}
  return np.array([number[experiment.source.info.cases[index]] for index in records], np.int64)


def batches_of(
  experiment: Experiment, records: np.ndarray, *, alone: bool = False
) -> Iterable[Batch]:
  """Every record once, tiled or cropped as the config says; this process's rows.

  ``alone``: all rows, for a process that works without the others.
  """
  options = _cut(experiment) | {'process_count': 1 if alone else jax.process_count()}
  index = 0 if alone else jax.process_index()
  return eval_batches(experiment.source, records, **options, process_index=index)


def _cut(experiment: Experiment) -> dict[str, Any]:
  """How the config wants records cut into rows."""
  data = experiment.config.data
  return {
    'batch_size': sharding.check_batch(data.eval_batch_size),
    'size': data.eval_size,
    'crop': data.eval_crop,
    'margin': data.eval_margin,
  }


def count_records(
  experiment: Experiment,
  records: np.ndarray,
  counter: Counter,
  rng: jax.Array,
  *,
  repeat: int = 1,
  what: str = '',
) -> Counts:
  """Counts of every unit of ``records`` [units, ...], summed over its tiles or slices.

  The key of a row derives from its unit, so the tiles of an image, or the slices of a scored
  volume, share one draw; the result depends on neither batch size nor devices nor processes.
  ``repeat`` is the number of rows that ``counter`` returns for each row of a batch; ``what`` names
  the work where its progress is to be shown.
  """
  units = units_of(experiment, records)
  total, batches = None, batches_of(experiment, records)
  if what and jax.process_index() == 0:
    number = num_eval_batches(
      experiment.source, records, **_cut(experiment), process_count=jax.process_count()
    )
    batches = follow(batches, f'{what}, batches', number)
  for local in batches:
    batch = sharding.place_batch(experiment.mesh, local)
    counts = counter(batch, image_keys(rng, batch[units.column]))
    counts, names = jax.tree.map(sharding.local_rows, (counts, batch[units.column]))
    place = np.searchsorted(units.numbers, names).clip(0)  # padding rows count nothing anywhere
    rows = bounds.rater_units(place, repeat)
    part = add_to_units(counts, rows, repeat * len(units.numbers))
    total = part if total is None else jax.tree.map(np.add, total, part)
  return total


@functools.lru_cache(maxsize=16)
def make_predict(method: Method, *, verb: str, num_samples: int, num_raters: int) -> Callable:
  """Compiled ``(params, keys, image) -> probs``: samples [b s h w k], or one map a rater.

  The same arguments give the same function, which compiles once a shape.
  """

  def predict(params, keys, image):
    if verb == 'personalize':
      return method.personalize(params, keys, image, jnp.eye(num_raters))
    return method.sample(params, keys, image, num_samples)

  return jax.jit(predict)


def make_counter(predict: Callable, params: Any, distort: Callable | None = None) -> Counter:
  """Counts what a model predicts; ``distort`` (keys, image) changes the images first."""

  def counter(batch, keys):
    image = batch['image'] if distort is None else distort(keys, batch['image'])
    return count_probs(predict(params, keys, image), batch)

  return counter


def count_probs(probs: jax.Array, batch: Batch) -> Counts:
  """Counts of predictions for a batch."""
  return _count(probs, batch['masks'], batch['annotated'], batch['valid'])


_count = jax.jit(count)
