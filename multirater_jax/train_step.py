"""One compiled training step: augment on the device, loss, gradient, update, average."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Integer

from multirater_jax.data import artifacts
from multirater_jax.data.augment import augment
from multirater_jax.method import Batch, Method, image_keys
from multirater_jax.optimizer import Flat, divide, ema_update, merge, start_from, with_encoder


class TrainState(NamedTuple):
  """Everything a step changes; frozen parameters have neither gradient nor optimizer state."""

  step: Integer[Array, '']
  trained: Flat
  frozen: Flat
  ema: Flat
  optimizer: Any


def create_state(
  method: Method,
  optimizer: optax.GradientTransformation,
  rng: Array,
  batch: Batch,
  *,
  freeze: str | None,
  encoder: Any = None,
  earlier: Any = None,
) -> TrainState:
  """Fresh parameters, continued from those of an ``earlier`` stage where names and shapes agree.

  ``encoder`` are pretrained parameters of the trunk's encoder.
  """
  params = jax.jit(method.init)(rng, batch)
  params = with_encoder(params, encoder) if encoder is not None else params
  params = start_from(params, earlier) if earlier is not None else params
  trained, frozen = divide(params, freeze)
  ema = jax.tree.map(jnp.copy, trained)  # own buffers: the state is donated
  return TrainState(jnp.zeros((), jnp.int32), trained, frozen, ema, optimizer.init(trained))


def evaluated_params(state: TrainState) -> Any:
  """The parameters that validation and prediction use: the averaged ones."""
  return merge(state.ema, state.frozen)


def make_train_step(
  method: Method,
  optimizer: optax.GradientTransformation,
  *,
  ema_decay: float,
  augmentation: Mapping[str, float],
  artifact_probability: float,
) -> Callable[[TrainState, Array, Batch], tuple[TrainState, dict[str, Array]]]:
  """Builds ``(state, rng, batch) -> (state, logs)``; the caller jits it over its mesh.

  ``rng`` is the key of the stage; step and record numbers are folded in. With
  ``artifact_probability`` above 0 the batch also holds ``distorted`` images.
  """

  def step_fn(state, rng, batch):
    geometry, artifact, loss_rng = jax.random.split(jax.random.fold_in(rng, state.step), 3)
    batch = dict(batch)
    keys = image_keys(geometry, batch['index'])
    batch['image'], batch['masks'] = augment(keys, batch['image'], batch['masks'], **augmentation)
    if artifact_probability:
      keys = image_keys(artifact, batch['index'])
      batch['distorted'] = artifacts.simulate(
        keys, batch['image'], probability=artifact_probability
      )
    real = batch['annotated'].any(-1)
    weight = real / jnp.maximum(real.sum(), 1)

    def mean_loss(trained):
      loss = method.loss(merge(trained, state.frozen), loss_rng, batch, state.step)
      logs = {name: (term * weight).sum() for name, term in loss.logs.items()}
      return (loss.value * weight).sum(), logs

    (loss, logs), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.trained)
    updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.trained)
    trained = optax.apply_updates(state.trained, updates)
    ema = ema_update(state.ema, trained, state.step, ema_decay)
    logs = {'loss': loss, **logs, 'gradient_norm': optax.tree.norm(gradient)}
    return TrainState(state.step + 1, trained, state.frozen, ema, optimizer_state), logs

  return step_fn
