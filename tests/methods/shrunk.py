"""Every stage of every method's config at a size that compiles in seconds, on one tiny batch.

Run as a program, it repeats a saved training step on the devices and processes it finds.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from multirater_jax import sharding
from multirater_jax.experiment import build_method, outputs_of
from multirater_jax.method import Method
from multirater_jax.methods import METHODS
from multirater_jax.optimizer import divide, start_from
from multirater_jax.train_step import TrainState, evaluated_params, make_train_step

ROWS, RATERS, SIZE = 8, 3, 32
STEPS = 20
_SMALL_MODEL = {
  'trunk': {'name': 'unet', 'widths': (8, 8, 16), 'convs': 1, 'patch': 2},
  'encoder_widths': (8, 8),
  'encoder_convs': 1,
  'encoder_patch': 2,
  'denoiser': {'widths': (8, 16), 'blocks': 1, 'attention': 1, 'patch': 4},
}
# Arguments of a method that make it slow, or its loss change from step to step.
_SMALL_ARGUMENTS = {
  'num_loss_samples': 3,
  'num_bound_samples': 3,
  'bank_size': 20,
  'test_bank_size': 24,
  'ged_ramp_steps': 0,
  'num_steps': 3,
  'num_loss_draws': 2,
  'personal_samples': 2,
  'warmup_steps': 0,
}
# The first part of the optimizer keeps the gradient it saw.
OPTIMIZER = optax.chain(optax.trace(0.0), optax.adam(1e-2))


class Stage(NamedTuple):
  """One stage of a method's config, before its first step."""

  method: Method
  freeze: str | None
  step: Callable  # compiled (state, rng, batch) -> (state, logs)


@functools.cache
def config_of(name: str) -> dict[str, Any]:
  """The config of a method, shrunk."""
  config = importlib.import_module(f'experiments.configs.{name}').get_config('phantom').to_dict()
  config['model'] |= {key: value for key, value in _SMALL_MODEL.items() if key in config['model']}
  accepted = inspect.signature(METHODS[name]).parameters
  for stage in config['stages']:
    arguments = config['stage'][stage]['method']
    arguments |= {key: value for key, value in _SMALL_ARGUMENTS.items() if key in accepted}
  return config


def stages() -> list[tuple[str, str]]:
  """(method, stage) of all configs."""
  return [(name, stage) for name in METHODS for stage in config_of(name)['stages']]


def outputs() -> list[tuple[str, str, str]]:
  """(method, stage, verb) of everything that is evaluated."""
  found = {name: outputs_of(ConfigDict(config_of(name))) for name in METHODS}
  return [(name, output.stage, output.verb) for name in METHODS for output in found[name]]


@functools.cache
def stage_of(name: str, stage: str) -> Stage:
  """A stage with its training step; nothing is compiled yet."""
  config = config_of(name)
  options = config['stage'][stage]
  method = build_method(config, stage, num_raters=RATERS, num_classes=2)
  step = make_train_step(
    method,
    OPTIMIZER,
    ema_decay=0.9,
    augmentation={},
    artifact_probability=options['artifact_probability'],
  )
  return Stage(method, options['freeze'], jax.jit(step))


@functools.cache
def start_of(name: str, stage: str) -> TrainState:
  """The state before the first step; a later stage goes on from the end of the one before."""
  method = stage_of(name, stage).method
  number = config_of(name)['stages'].index(stage)
  before = config_of(name)['stages'][:number]
  earlier = evaluated_params(end_of(name, before[-1])[0]) if before else None
  key = jax.random.key(0, impl='unsafe_rbg')
  shapes = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(method.init, key, batch()))
  if shapes == jax.tree.map(jnp.shape, earlier):
    return make_state(earlier, stage_of(name, stage).freeze)
  fresh = jax.jit(method.init)(key, batch())
  params = start_from(fresh, earlier) if before else fresh
  return make_state(params, stage_of(name, stage).freeze)


def make_state(params: Any, freeze: str | None) -> TrainState:
  """A state of these parameters."""
  trained, frozen = divide(params, freeze)
  return TrainState(jnp.zeros((), jnp.int32), trained, frozen, trained, OPTIMIZER.init(trained))


@functools.cache
def end_of(name: str, stage: str) -> tuple[TrainState, list[float]]:
  """The state after a few steps on one batch, with the losses on the way."""
  state, trace = start_of(name, stage), []
  for _ in range(STEPS):
    state, logs = stage_of(name, stage).step(state, jax.random.key(1), batch())
    trace.append(float(logs['loss']))
  return state, trace


def perturbed(state: TrainState) -> TrainState:
  """Away from the start, where layers of zeros hide the ones before them."""
  rng = np.random.default_rng(0)

  def move(leaf):
    return leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32)

  return state._replace(trained={name: move(state.trained[name]) for name in sorted(state.trained)})


def gradient_of(state: TrainState) -> dict[str, jax.Array]:
  """The gradient of the step that led to ``state``."""
  return state.optimizer[0].trace


@functools.cache
def batch(seed: int = 0) -> dict[str, jax.Array]:
  """Noisy disks; rater r draws them larger than rater r - 1, and two raters are absent once."""
  rng = np.random.default_rng(seed)
  rows, columns = np.indices((SIZE, SIZE))
  center = rng.uniform(12, 20, (2, ROWS, 1, 1))
  distance = np.hypot(rows - center[0], columns - center[1])
  radius = rng.uniform(5, 8, (ROWS, 1, 1))
  image = 0.2 + 0.5 / (1 + np.exp(distance - radius)) + 0.05 * rng.normal(size=distance.shape)
  growth = np.arange(RATERS)[:, None, None] * 1.5 - 1.5
  annotated = np.ones((ROWS, RATERS), bool)
  annotated[2, 1] = annotated[5, 0] = False
  return {
    'image': jnp.asarray(np.clip(image, 0, 1)[..., None], jnp.float32),
    'masks': jnp.asarray(distance[:, None] < radius[:, None] + growth, jnp.uint8),
    'annotated': jnp.asarray(annotated),
    'case': jnp.arange(ROWS, dtype=jnp.int32) // 2,
    'index': jnp.asarray(rng.permutation(1000)[:ROWS], jnp.int32),
  }


def save_step(name: str, stage: str, folder: Path) -> None:
  """Takes one step from a moved start on this device; writes its state, losses and gradient."""
  state = perturbed(start_of(name, stage))
  after, logs = stage_of(name, stage).step(state, jax.random.key(1), batch())
  arrays = {
    f'{kind}|{key}': value
    for kind, values in [
      ('trained', state.trained),
      ('frozen', state.frozen),
      ('logs', logs),
      ('gradient', gradient_of(after)),
    ]
    for key, value in values.items()
  }
  np.savez(folder / f'{stage}.npz', **arrays)


def repeat_step(name: str, stage: str, folder: Path) -> None:
  """Takes the step of ``save_step`` on all devices of all processes and compares."""
  saved = np.load(folder / f'{stage}.npz', allow_pickle=False)

  def part(kind):
    return {key.split('|')[1]: saved[key] for key in saved.files if key.startswith(kind + '|')}

  trained = {key: jnp.asarray(value) for key, value in part('trained').items()}
  state = TrainState(
    jnp.zeros((), jnp.int32), trained, part('frozen'), trained, OPTIMIZER.init(trained)
  )
  mesh = sharding.data_mesh()
  share = ROWS // jax.process_count()
  own = slice(share * jax.process_index(), share * (jax.process_index() + 1))
  with jax.set_mesh(mesh):
    rows = sharding.place_batch(mesh, {key: np.asarray(x)[own] for key, x in batch().items()})
    state, rng = sharding.place_replicated(mesh, state), jax.random.key(1)
    compiled = stage_of(name, stage).step.lower(state, rng, rows).compile()
    text = compiled.as_text()
    assert 'all-reduce' in text
    assert 'all-gather' not in text and 'all-to-all' not in text
    after, logs = compiled(state, rng, rows)
  _compare(logs, part('logs'), 'logs', 1e-5)
  # One pixel at the kink of a ReLU takes the other side by rounding: 3e-4 was seen.
  _compare(gradient_of(after), part('gradient'), 'gradient', 1e-3)


def _compare(
  actual: dict[str, Any], expected: dict[str, np.ndarray], what: str, tolerance: float
) -> None:
  assert actual.keys() == expected.keys()
  largest = max(np.abs(value).max() for value in expected.values())
  for name, value in expected.items():
    error = np.abs(np.asarray(actual[name]) - value).max()
    bound = tolerance * max(1.0, largest)
    assert error <= bound, f'{what} {name}: {error} of {largest}'


if __name__ == '__main__':
  method_name, place, *processes = sys.argv[1:]
  if processes:
    port, number = processes
    sharding.start('on', coordinator=f'127.0.0.1:{port}', num_processes=2, process_id=int(number))
  for stage_name in config_of(method_name)['stages']:
    repeat_step(method_name, stage_name, Path(place))
