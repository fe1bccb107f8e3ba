"""Plain-array calls for research code: load a trained run, sample it, personalize it."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Float, Num
from safetensors.numpy import load_file, save_file

from multirater_jax.checkpoints import CheckpointError, Checkpoints, restore_params
from multirater_jax.experiment import build_method
from multirater_jax.method import Method, Params, image_keys

Images = Num[np.ndarray, 'b h w c'] | Num[jax.Array, 'b h w c']


def load(
  workdir: str | Path, stage: str | None = None, *, new_rater: str | None = None
) -> tuple[Method, Params]:
  """The method and best averaged parameters of a trained stage, by default the last one.

  ``new_rater`` names one that ``experiments.adapt`` fitted; they are the last of the raters.

  Raises CheckpointError where ``workdir`` holds no such trained stage or rater.
  """
  workdir = Path(workdir)
  config, num_raters, num_classes = run_facts(workdir)
  stage = stage or config['stages'][-1]
  if stage not in config['stages']:
    raise CheckpointError(f'The run has the stages {", ".join(config["stages"])}, not "{stage}".')
  number = num_raters + (new_rater is not None)
  method = build_method(config, stage, num_raters=number, num_classes=num_classes)
  return method, _adapted(workdir, new_rater) if new_rater else _trained(workdir, config, stage)


def run_facts(workdir: Path) -> tuple[dict[str, Any], int, int]:
  """Config, number of raters and number of classes of a run.

  Raises CheckpointError where ``workdir`` is not the folder of one.
  """
  try:
    config = json.loads((workdir / 'config.json').read_text())
    info = json.loads((workdir / 'fingerprint.json').read_text())
  except OSError as error:
    raise CheckpointError(f'{workdir} is not the folder of a run: {error.strerror}.') from error
  return config, len(info['raters']), info['num_classes']


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


def sample(
  method: Method, params: Params, image: Images, num_samples: int, seed: int = 0
) -> Float[np.ndarray, 'b s h w k']:
  """Class probabilities of ``num_samples`` plausible masks; image in [0, 1].

  A seed gives the same samples whatever the batch an image comes in at that position.
  """
  keys = image_keys(jax.random.key(seed), jnp.arange(len(image)))
  return np.asarray(_sample(method, num_samples)(params, keys, jnp.asarray(image)))


def personalize(
  method: Method,
  params: Params,
  image: Images,
  style: Any,
  seed: int = 0,
) -> Float[np.ndarray, 'b r h w k']:
  """Class probabilities in the manner of each row of ``style`` [r d]; ``eye(R)`` names raters.

  Raises ValueError where the method makes no personalized masks.
  """
  if method.personalize is None:
    raise ValueError('This method makes no personalized masks; use one that does, or sample.')
  keys = image_keys(jax.random.key(seed), jnp.arange(len(image)))
  run = _personalize(method)
  return np.asarray(run(params, keys, jnp.asarray(image), jnp.asarray(style, jnp.float32)))


@functools.lru_cache(maxsize=16)
def _sample(method: Method, num_samples: int):
  return jax.jit(lambda params, keys, image: method.sample(params, keys, image, num_samples))


@functools.lru_cache(maxsize=16)
def _personalize(method: Method):
  return jax.jit(method.personalize)
