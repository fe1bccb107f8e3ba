"""What training and evaluation share: a config turned into data, splits, mesh and methods."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from multirater_jax import sharding
from multirater_jax.data import splits
from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from multirater_jax.method import Method
from multirater_jax.methods import METHODS

PARTS = ('train', 'validation', 'test')


class Experiment(NamedTuple):
  """One run, opened: nothing here changes while it trains or is evaluated."""

  config: ml_collections.FrozenConfigDict
  workdir: Path
  source: Source
  split: dict[str, Any]
  records: dict[str, np.ndarray]  # record numbers of each part of the split
  mesh: jax.sharding.Mesh

  @property
  def channels(self) -> int:
    """Channels of an image, read from the first one."""
    return self.source[0]['image'].shape[-1]


def open_experiment(config: Any, workdir: Path, directory: Path) -> Experiment:
  """Opens the data set in ``directory``, draws the split of the config and checks it for leaks.

  Raises DataError on a damaged set, a leak or a part without any record.
  """
  data = config.data
  source = Source(
    directory,
    rater_order=data.rater_order,
    percentiles=data.percentiles or None,
    cache_mb=data.cache_mb,
  )
  cases = source.info.cases
  split = make_split(cases, data.split)
  splits.check_leak(split, cases)
  records = {part: splits.records_of(split[part], cases) for part in PARTS}
  for part in PARTS:
    if len(records[part]) == 0:
      raise DataError(f'The {part} part of the split holds no record; change config.data.split.')
  mesh = sharding.data_mesh()
  return Experiment(ml_collections.FrozenConfigDict(config), workdir, source, split, records, mesh)


def make_split(cases: list[str], options: Any) -> dict[str, Any]:
  """A hold-out split, one fold of a cross-validation, the published one, or ``options.file``.

  ``validation`` and ``test`` are shares below 1, or numbers of cases.
  """
  if options.file:
    return splits.read(options.file)

  def share(value: float) -> float | int:
    return int(value) if value >= 1 else value

  if options.policy == 'published':
    return splits.published(cases)
  if options.policy == 'held_back':
    return splits.held_back(cases, validation=share(options.validation))
  if options.folds:
    return splits.k_fold(
      cases,
      folds=options.folds,
      fold=options.fold,
      seed=options.seed,
      validation=share(options.validation),
    )
  return splits.hold_out(
    cases, validation=share(options.validation), test=share(options.test), seed=options.seed
  )


def make_method(experiment: Experiment, stage: str, **changes: Any) -> Method:
  """The method of a stage, with the number of raters and classes of the data set."""
  info = experiment.source.info
  return build_method(
    experiment.config.to_dict(),
    stage,
    num_raters=len(info.raters),
    num_classes=info.num_classes,
    **changes,
  )


def build_method(
  config: Mapping[str, Any], stage: str, *, num_raters: int, num_classes: int, **changes: Any
) -> Method:
  """The method of a stage of a config given as nested dicts; ``changes`` replace arguments.

  The same settings give the same object, so that what was compiled for it is found again.
  """
  arguments = {**config['model'], **config['stage'][stage]['method'], **changes}
  arguments |= {'num_classes': num_classes, 'num_raters': num_raters}
  return _built(METHODS[config['method']], json.dumps(arguments, sort_keys=True))


@functools.lru_cache(maxsize=32)
def _built(factory: Callable[..., Method], arguments: str) -> Method:
  values = {name: _tuples(value) for name, value in json.loads(arguments).items()}
  dtype = values.pop('dtype', 'float32')
  return factory(dtype=None if dtype == 'float32' else jnp.dtype(dtype), **values)


def _tuples(value: Any) -> Any:
  """Lists as tuples, which is what JSON made of them and what modules can hash."""
  if isinstance(value, Mapping):
    return {name: _tuples(item) for name, item in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


class Output(NamedTuple):
  """Something a trained stage is evaluated on."""

  stage: str
  verb: str  # 'sample' or 'personalize'
  label: str  # in tables


def outputs_of(config: Any) -> list[Output]:
  """What every stage is evaluated on, in order; the verb is named where a stage has two."""
  found = []
  for number, stage in enumerate(config.stages):
    options, label = config.stage[stage], f'stage {number + 1}: {stage}'
    verbs = (options.verb, *options.get('also', ()))
    found += [Output(stage, v, label if len(verbs) == 1 else f'{label} ({v})') for v in verbs]
  return found


def stage_key(experiment: Experiment, stage: str) -> jax.Array:
  """The key that everything random in a stage derives from."""
  number = experiment.config.stages.index(stage)
  return jax.random.fold_in(jax.random.key(experiment.config.seed), number)
