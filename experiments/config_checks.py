"""A config is checked before anything is built: names, numbers, devices, then the methods."""

import difflib
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

import tfds_builders
from multirater_jax import sharding
from multirater_jax.data import splits
from multirater_jax.experiment import Experiment, make_method, outputs_of, stage_key
from multirater_jax.method import Method
from multirater_jax.methods import METHODS
from multirater_jax.metrics.scores import COLUMNS, Protocol
from multirater_jax.scoring import VERBS
from multirater_jax.train import fresh_state
from multirater_jax.train_step import evaluated_params


class ConfigError(ValueError):
  """A setting that cannot work; one sentence with the nearest valid one."""


def check_overrides(argv: Sequence[str]) -> None:
  """Raises ConfigError without a config, or where ``--config.<key>`` names an unknown key."""
  if any(argument in ('--help', '-h', '--helpfull', '--helpshort') for argument in argv):
    return
  config = _load_config([a for a in argv if a.startswith('--config=')])
  for argument in argv:
    if argument.startswith('--config.'):
      *groups, key = argument.partition('=')[0].split('.')[1:]
      node, path = config, 'config'
      for name in (*groups, key):
        _check_name(path, name, list(node) if isinstance(node, ConfigDict) else ())
        node, path = node[name], f'{path}.{name}'


def _load_config(arguments: Sequence[str]) -> ConfigDict:
  """The config as its file gives it, before any override."""
  if not arguments:
    raise ConfigError('Give --config=FILE, such as --config=experiments/configs/harmonized.py')
  path, *argument = arguments[-1].partition('=')[2].split(':', 1)
  if not Path(path).is_file():
    raise ConfigError(f'There is no config file {path}; look into experiments/configs/.')
  spec = importlib.util.spec_from_file_location('config', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(*argument)


def check_config(config: ConfigDict) -> None:
  """Raises ConfigError on names and numbers that no run could use; touches no device or file."""
  _check_name('config.method', config.method, METHODS)
  _check_name('config.data.name', config.data.name, tfds_builders.BUILDERS)
  if not config.stages:
    raise ConfigError('config.stages is empty; name at least one stage.')
  _check_least('config.seed', config.seed, 0)
  known = inspect.signature(METHODS[config.method]).parameters
  if 'latent' not in known:
    _check_arguments('config.model', config.model, known)
  for stage in config.stages:
    _check_name('config.stages', stage, config.stage)
    options = config.stage[stage]
    for verb in (options.verb, *options.also):
      _check_name(f'config.stage.{stage}.verb', verb, VERBS)
    _check_name(f'config.stage.{stage}.best_by', options.best_by, COLUMNS)
    for key in ('steps', 'log_every', 'checkpoint_every'):
      _check_least(f'config.stage.{stage}.{key}', options[key], 1)
    _check_least(f'config.stage.{stage}.optimizer.accumulate', options.optimizer.accumulate, 1)
    rate = options.optimizer.learning_rate
    if not rate > 0:
      raise ConfigError(f'config.stage.{stage}.optimizer.learning_rate={rate} must be positive.')
  _check_data(config.data)
  _check_name('config.evaluation.protocol', config.evaluation.protocol, get_args(Protocol))
  for key, least in (('num_samples', 2), ('validation_samples', 1), ('validation_records', 1)):
    _check_least(f'config.evaluation.{key}', config.evaluation[key], least)


def _check_data(data: ConfigDict) -> None:
  for key in ('batch_size', 'size', 'eval_size', 'eval_batch_size', 'num_threads'):
    _check_least(f'config.data.{key}', data[key], 1)
  for key, known in (
    ('crop', ('center', 'random')),
    ('eval_crop', ('center', 'tile')),
    ('score_by', ('image', 'case')),
  ):
    _check_name(f'config.data.{key}', data[key], known)
  _check_name('config.data.split.policy', data.split.policy, splits.POLICIES)
  if data.split.policy != 'random' and data.split.folds:
    raise ConfigError(
      f'config.data.split.policy={data.split.policy} has no folds; leave config.data.split.folds 0.'
    )
  if not 0 <= 2 * data.eval_margin < data.eval_size:
    raise ConfigError(
      f'config.data.eval_margin={data.eval_margin} leaves nothing of tiles of '
      f'config.data.eval_size={data.eval_size}.'
    )


def _check_name(key: str, name: str, known: Any) -> None:
  if name not in known:
    near = difflib.get_close_matches(str(name), list(known), 1)
    hint = f'did you mean "{near[0]}"?' if near else f'known: {", ".join(known) or "nothing"}.'
    raise ConfigError(f'Unknown name "{name}" in {key}; {hint}')


def _check_arguments(key: str, arguments: ConfigDict, known: Any) -> None:
  for name in arguments:
    _check_name(f'{key}.{name}', name, (*known, 'dtype'))


def _check_least(key: str, value: int, least: int) -> None:
  if value < least:
    raise ConfigError(f'{key}={value} must be at least {least}.')


def check_devices(config: ConfigDict) -> None:
  """Raises ConfigError where a batch cannot be divided over the devices."""
  for key in ('batch_size', 'eval_batch_size'):
    try:
      sharding.check_batch(config.data[key])
    except ValueError as error:
      raise ConfigError(f'config.data.{key}: {error}.') from error


def check_methods(experiment: Experiment) -> None:
  """Builds every stage's method and the shapes of its state; ConfigError where that cannot be."""
  for stage in experiment.config.stages:
    try:
      method = make_method(experiment, stage)
      _trace(experiment, stage, method)
    except (TypeError, ValueError) as error:
      reason = str(error).split('\n')[0]
      raise ConfigError(f'The model of stage "{stage}" cannot be built: {reason}') from error
    verbs = [output.verb for output in outputs_of(experiment.config) if output.stage == stage]
    if 'personalize' in verbs and method.personalize is None:
      raise ConfigError(
        f'config.stage.{stage}.verb="personalize", but {experiment.config.method} makes no '
        'personalized masks; use "sample".'
      )
  if experiment.config.evaluation.robustness_records:
    _check_takes(experiment, 'robustness_records', 'a method with a harmonizer', harmonizer=False)
  if counts := experiment.config.evaluation.step_counts:
    for number in counts:
      _check_takes(experiment, 'step_counts', f'a sampler of {number} steps', num_steps=number)


def _trace(experiment: Experiment, stage: str, method: Method) -> None:
  """Computes the shapes of training and evaluation; raises ValueError where they do not fit."""
  size = experiment.config.data.eval_size

  def everything():
    state = fresh_state(experiment, stage)
    keys = jax.random.split(stage_key(experiment, stage), 1)
    image = jnp.zeros((1, size, size, experiment.channels))
    return method.sample(evaluated_params(state), keys, image, num_samples=1)

  jax.eval_shape(everything)


def _check_takes(experiment: Experiment, key: str, what: str, **argument: Any) -> None:
  """Raises ConfigError where the method does not take the argument that a setting needs."""
  try:
    make_method(experiment, experiment.config.stages[0], **argument)
  except (TypeError, ValueError) as error:
    raise ConfigError(
      f'config.evaluation.{key} needs {what}, which {experiment.config.method} has not; '
      f'set it to {experiment.config.evaluation[key].__class__()}.'
    ) from error
