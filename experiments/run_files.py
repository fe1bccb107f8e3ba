"""The files that tell what a run is, and whether its folder may be used by this one."""

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments.config_checks import ConfigError
from multirater_jax.data import fingerprint, splits
from multirater_jax.data.source import Source
from multirater_jax.experiment import Experiment
from multirater_jax.workdir import config_difference, write_json

# Settings that do not change what is trained; a run may go on under other values of these.
_FREE = (
  'max_minutes',
  'data.cache_mb',
  'data.data_dir',
  'data.eval_batch_size',
  'data.manual_dir',
  'data.num_threads',
  'evaluation.num_samples',
  'evaluation.panels',
  'evaluation.protocol',
  'evaluation.robustness',
  'evaluation.step_counts',
  'evaluation.step_records',
  'evaluation.step_samples',
)
_VERSIONS = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')


def default_workdir(config: ConfigDict) -> Path:
  """``runs/<method>-<data set>``, with the scale where it is not the default one."""
  return Path('runs') / f'{config.name}-{config.data.name}'


def check_unchanged(config: ConfigDict, workdir: Path, *, allow: bool) -> None:
  """Raises ConfigError where the workdir belongs to a run under another config."""
  path = workdir / 'config.json'
  if not path.is_file():
    return
  lines = config_difference(json.loads(path.read_text()), config.to_dict())
  lines = [line for line in lines if not line.startswith(_FREE)]
  if lines and not allow:
    raise ConfigError(
      f'{workdir} holds a run under another config ({"; ".join(lines)}); choose another --workdir, '
      'undo the change, or pass --allow_config_change to go on with it.'
    )


def check_same_data(experiment: Experiment, *, allow: bool) -> None:
  """Raises ConfigError where the run in the workdir was made with other records."""
  path = experiment.workdir / 'fingerprint.json'
  if allow or not path.is_file():
    return
  before, now = json.loads(path.read_text()).get('hash'), experiment.source.info.hash
  if before != now:
    raise ConfigError(
      f'{experiment.workdir} holds a run on records with the hash {before}, but those in '
      f'{experiment.source.directory} have the hash {now}; choose another --workdir, bring back '
      'the former data, or pass --allow_config_change to go on with the new ones.'
    )


def write_run_files(experiment: Experiment) -> None:
  """Config, split, fingerprint of the data and environment, for the record and the report."""
  workdir, source = experiment.workdir, experiment.source
  write_json(workdir / 'config.json', experiment.config.to_dict())
  splits.write(experiment.split, workdir / 'split.json')
  write_json(workdir / 'fingerprint.json', _fingerprint(source))
  write_json(workdir / 'environment.json', _environment())


def _fingerprint(source: Source) -> dict[str, Any]:
  """What lies beside the set, with the raters as this run orders them."""
  found = fingerprint.load(source.directory)
  return found | {'raters': source.raters, 'rater_order': source.rater_order}


def _environment() -> dict[str, str]:
  devices = jax.devices()
  versions = {name: importlib.metadata.version(name) for name in _VERSIONS}
  return {
    'command': ' '.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    'python': platform.python_version(),
    'system': f'{platform.system()} {platform.machine()}',
    'cpu cores': str(os.cpu_count()),
    'devices': f'{len(devices)} x {devices[0].device_kind}',
    'processes': str(jax.process_count()),
    **versions,
  }
