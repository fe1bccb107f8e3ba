"""The optimizer of a stage, and the division of parameters into trained and frozen ones."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from jaxtyping import Array

Flat = dict[str, Array]  # 'trunk/Conv_0/kernel' -> array


def make_optimizer(
  *,
  steps: int,
  learning_rate: float,
  warmup: float = 0.0,
  weight_decay: float = 0.0,
  clip_norm: float = 1.0,
  accumulate: int = 1,
  rate_of: tuple[tuple[str, float], ...] = (),
) -> optax.GradientTransformation:
  """Adam (AdamW with ``weight_decay``) after clipping, cosine to zero with linear warm-up.

  ``warmup`` is the share of the updates in which the rate rises.
  ``rate_of`` lists (regular expression over parameter names, factor on the learning rate).
  ``accumulate`` averages the gradients of that many steps before an update; ``steps`` counts
  single steps.
  """
  updates = max(steps // accumulate, 1)
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, learning_rate, max(int(warmup * updates), 1), max(updates, 2)
  )
  optimizer = optax.chain(
    optax.clip_by_global_norm(clip_norm),
    optax.adamw(schedule, weight_decay=weight_decay),
    _scale_by_name(rate_of),
  )
  if accumulate == 1:
    return optimizer
  return optax.MultiSteps(optimizer, accumulate).gradient_transformation()


def _scale_by_name(rate_of: tuple[tuple[str, float], ...]) -> optax.GradientTransformation:
  def update(updates, params=None):
    del params
    return {name: factor(name) * value for name, value in updates.items()}

  def factor(name):
    return next((f for pattern, f in rate_of if re.search(pattern, name)), 1.0)

  return optax.stateless(update)


def divide(params: Any, freeze: str | None) -> tuple[Flat, Flat]:
  """Trained and frozen parameters by name; ``freeze`` is a regular expression over names.

  Raises ValueError where it leaves nothing to train.
  """
  flat = traverse_util.flatten_dict(params, sep='/')
  frozen = {k: v for k, v in flat.items() if freeze and re.search(freeze, k)}
  trained = {k: v for k, v in flat.items() if k not in frozen}
  if not trained:
    raise ValueError(f'freeze="{freeze}" matches every parameter; nothing is left to train.')
  return trained, frozen


def merge(trained: Flat, frozen: Flat) -> Any:
  """The nested parameters that ``divide`` took apart."""
  return traverse_util.unflatten_dict(trained | frozen, sep='/')


def start_from(fresh: Any, earlier: Any) -> Any:
  """``fresh`` parameters, replaced by those of an earlier stage where name and shape agree."""
  fresh, earlier = (traverse_util.flatten_dict(tree, sep='/') for tree in (fresh, earlier))
  kept = {k: v for k, v in earlier.items() if k in fresh and fresh[k].shape == v.shape}
  return traverse_util.unflatten_dict(fresh | kept, sep='/')


def with_encoder(fresh: Any, encoder: Any) -> Any:
  """``fresh`` parameters with the trunk's encoder replaced by a pretrained one.

  Raises ValueError where the trunk has no encoder of that kind.
  """
  flat = traverse_util.flatten_dict(fresh, sep='/')
  for name, value in traverse_util.flatten_dict(encoder, sep='/').items():
    places = [key for key in flat if key.endswith(f'trunk/encoder/{name}')]
    if len(places) != 1 or flat[places[0]].shape != value.shape:
      raise ValueError(
        f'The pretrained weight {name} has no place in the trunk; pretrained weights need '
        'trunk.name="resnet34" and trunk.norm="frozen_affine".'
      )
    flat[places[0]] = value
  return traverse_util.unflatten_dict(flat, sep='/')


def ema_update(ema: Flat, params: Flat, step: Array, decay: float) -> Flat:
  """Exponential moving average whose decay rises from 0.1 to ``decay``, so that it starts fresh."""
  decay = jnp.minimum(decay, (1 + step) / (10 + step))
  return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, params)
