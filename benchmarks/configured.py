"""A method of a config with fresh parameters, as benchmarks run it."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from multirater_jax.experiment import build_method
from multirater_jax.method import Batch, Method, Params
from multirater_jax.train_step import TrainState, create_state, make_train_step


class Configured(NamedTuple):
  """The last stage of a method and its parameters before training."""

  method: Method
  params: Params
  config: dict[str, Any]


def configured(name: str, scale: str, *, size: int, num_raters: int = 4) -> Configured:
  """``name``'s config at ``scale`` (cpu or paper) for two classes and one channel."""
  module = importlib.import_module(f'experiments.configs.{name}')
  config = module.get_config(f'phantom,{scale}').to_dict()
  method = build_method(config, config['stages'][-1], num_raters=num_raters, num_classes=2)
  key = jax.random.key(0, impl='unsafe_rbg')
  params = jax.jit(method.init)(key, example(1, size, num_raters))
  return Configured(method, params, config)


def example(count: int, size: int, num_raters: int) -> Batch:
  """A batch of noise images and disc masks."""
  y, x = jnp.mgrid[:size, :size] - size / 2
  radii = size * (0.2 + 0.02 * jnp.arange(num_raters))
  masks = (jnp.hypot(y, x) < radii[:, None, None]).astype(jnp.uint8)
  return {
    'image': jax.random.uniform(jax.random.key(1), (count, size, size, 1)),
    'masks': jnp.broadcast_to(masks, (count, *masks.shape)),
    'annotated': jnp.ones((count, num_raters), bool),
    'case': jnp.arange(count, dtype=jnp.int32),
    'index': jnp.arange(count, dtype=jnp.int32),
  }


def training(
  name: str, stage: int, batch: Batch, *, scale: str = 'cpu', dtype: str | None = None
) -> tuple[TrainState, Callable]:
  """A stage of ``name``'s config before its first step, and its compiled step, with Adam.

  ``dtype`` is the config's where it is None.
  """
  module = importlib.import_module(f'experiments.configs.{name}')
  config = module.get_config(f'phantom,{scale}').to_dict()
  config['model']['dtype'] = dtype or config['model']['dtype']
  options = config['stage'][config['stages'][stage]]
  method = build_method(
    config, config['stages'][stage], num_raters=batch['masks'].shape[1], num_classes=2
  )
  optimizer, key = optax.adam(1e-3), jax.random.key(0, impl='unsafe_rbg')
  state = create_state(method, optimizer, key, batch, freeze=options['freeze'])
  step = make_train_step(
    method,
    optimizer,
    ema_decay=options['ema_decay'],
    augmentation=config['augment'],
    artifact_probability=options['artifact_probability'],
  )
  return state, jax.jit(step, donate_argnums=0)
