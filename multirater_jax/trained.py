"""What the folder of a trained run holds: its facts, its parameters, raters adapted later."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from multirater_jax.checkpoints import CheckpointError, Checkpoints, restore_params
from multirater_jax.data.source import rater_names
from multirater_jax.experiment import build_method
from multirater_jax.method import Method, Params


class Facts(NamedTuple):
  """What is known of a run without its parameters."""

  config: dict[str, Any]
  raters: tuple[str, ...]  # in the order of the run
  num_classes: int
  fingerprint: dict[str, Any]  # of its data set


def load_method(
  workdir: Path, stage: str | None = None, *, new_rater: str | None = None
) -> tuple[Method, Params]:
  """The method and best averaged parameters of a trained stage, by default the last one.

  ``new_rater`` names one that ``experiments.adapt`` fitted; they are the last of the raters.

  Raises CheckpointError where ``workdir`` holds no such trained stage or rater.
  """
  facts = run_facts(workdir)
  config = facts.config
  stage = stage or config['stages'][-1]
  if stage not in config['stages']:
    raise CheckpointError(f'The run has the stages {", ".join(config["stages"])}, not "{stage}".')
  number = len(facts.raters) + (new_rater is not None)
  method = build_method(config, stage, num_raters=number, num_classes=facts.num_classes)
  return method, _adapted(workdir, new_rater) if new_rater else _trained(workdir, config, stage)


def run_facts(workdir: Path) -> Facts:
  """Reads the facts of a run.

  Raises CheckpointError where ``workdir`` is not the folder of one.
  """
  try:
    config = json.loads((workdir / 'config.json').read_text())
    info = json.loads((workdir / 'fingerprint.json').read_text())
  except (OSError, ValueError) as error:
    raise CheckpointError(f'{workdir} is not the folder of a run ({error}).') from error
  order = config['data']['rater_order']
  return Facts(config, tuple(rater_names(order, info['raters'])), info['num_classes'], info)


def adapted_path(workdir: Path, new_rater: str) -> Path:
  """Where the parameters with a new rater lie."""
  return workdir / 'adapted' / new_rater / 'params.safetensors'


def save_adapted(workdir: Path, new_rater: str, params: Params) -> Path:
  """Writes the parameters with a new rater, all or nothing."""
  path = adapted_path(workdir, new_rater)
  path.parent.mkdir(parents=True, exist_ok=True)
  flat = traverse_util.flatten_dict(jax.tree.map(np.asarray, params), sep='/')
  temporary = path.with_name(f'.{path.name}')
  save_file(flat, temporary)
  os.replace(temporary, path)
  return path


def _adapted(workdir: Path, new_rater: str) -> Params:
  path = adapted_path(workdir, new_rater)
  if not path.is_file():
    raise CheckpointError(
      f'{workdir} has no adapted rater "{new_rater}"; fit them by python -m experiments.adapt.'
    )
  flat = {name: jnp.asarray(value) for name, value in load_file(path).items()}
  return traverse_util.unflatten_dict(flat, sep='/')


def _trained(workdir: Path, config: dict[str, Any], stage: str) -> Params:
  folder = workdir / 'checkpoints' / stage
  with Checkpoints(folder, lower_is_better=config['stage'][stage]['lower_is_better']) as saved:
    step = saved.best_valid() or saved.newest_valid()
  if step is None:
    raise CheckpointError(f'Stage "{stage}" of {workdir} has no intact checkpoint; train it first.')
  params, meta = restore_params(folder, step, name='ema')
  if meta['frozen']:
    params = _united(params, restore_params(folder, step, name='frozen')[0])
  return jax.tree.map(jnp.asarray, params)


def _united(a: Params, b: Params) -> Params:
  return traverse_util.unflatten_dict(traverse_util.flatten_dict(a) | traverse_util.flatten_dict(b))
