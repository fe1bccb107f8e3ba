"""A new rater from a few annotated images: fit only the numbers that belong to one rater."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jaxtyping import Float, Integer

from multirater_jax import losses
from multirater_jax.method import Batch, Method, Params, image_keys

_LATE = 10**6  # a step after every ramp of a loss
_COMPARED = 128  # images to find the nearest rater by
_TINY = 1e-7  # of a probability, before its logarithm


def with_new_rater(
  method: Method, params: Params, num_raters: int, like: int | jax.Array = 0
) -> Params:
  """``params`` of ``num_raters`` raters with room for one more.

  What is fitted for the new rater starts as the mean of theirs; what is not is that of the rater
  ``like``, since the mean of several raters' layers is no layer. The new row comes after theirs,
  before rows that are no rater's (such as a consensus).
  """
  own, flat = _own(method), traverse_util.flatten_dict(params, sep='/')

  def grow(name, leaf):
    if not re.search(own.stacked, name):
      return leaf
    known = leaf[:num_raters]
    row = known.mean(0) if re.search(own.fitted, name) else known[like]
    return jnp.concatenate([known, row[None], leaf[num_raters:]])

  grown = {name: grow(name, leaf) for name, leaf in flat.items()}
  return traverse_util.unflatten_dict(grown, sep='/')


def adapt(
  method: Method,
  params: Params,
  image: Float[np.ndarray, 'n h w c'] | Float[jax.Array, 'n h w c'],
  masks: Integer[np.ndarray, 'n h w'] | Integer[jax.Array, 'n h w'],
  *,
  num_raters: int,
  steps: int = 200,
  learning_rate: float = 0.02,
  batch_size: int = 8,
  seed: int = 0,
) -> Params:
  """Fits the numbers of a new rater to their masks of 1 to 20 images; all others stay.

  ``method`` is that of ``params`` built for one rater more, ``METHODS[name](num_raters=num_raters +
  1, ...)``, and ``params`` hold ``num_raters``; the new rater is number ``num_raters``, counted
  from 0. ``image`` lies in [0, 1] at a size the model takes; images larger than it was trained on
  are better given as crops. The loss is that of the method's stage on images that the new rater
  alone annotated; Adam, cosine rate, at most ``batch_size`` images a step.

  Raises ValueError where the method cannot take in a rater, or images and masks do not fit.
  """
  if len(image) != len(masks) or image.shape[1:3] != masks.shape[1:] or not len(image):
    raise ValueError(f'Images {image.shape} and masks {masks.shape} must be pairs of one size.')
  like = _nearest(method, params, num_raters, image, masks, seed)
  flat = traverse_util.flatten_dict(with_new_rater(method, params, num_raters, like), sep='/')
  fitted = {name for name in flat if re.search(_own(method).fitted, name)}
  row = {name: flat[name][num_raters] for name in fitted}

  def united(row):
    placed = {name: flat[name].at[num_raters].set(row[name]) for name in row}
    return traverse_util.unflatten_dict(flat | placed, sep='/')

  def mean_loss(row, key, image, masks):
    batch = _drawn_by(num_raters, image, masks)
    return method.loss(united(row), key, batch, jnp.asarray(_LATE)).value.mean()

  optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, max(steps, 1)))

  @jax.jit
  def step_fn(row, state, key, image, masks):
    gradient = jax.grad(mean_loss)(row, key, image, masks)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(row, updates), state

  rng, state = np.random.default_rng(seed), optimizer.init(row)
  size = min(batch_size, len(image))
  for step in range(steps):
    chosen = rng.choice(len(image), size, replace=False)
    key = jax.random.fold_in(jax.random.key(seed), step)
    row, state = step_fn(row, state, key, image[chosen], masks[chosen])
  return united(row)


def _nearest(
  method: Method, params: Params, num_raters: int, image: Any, masks: Any, seed: int
) -> int:
  """The known rater whose maps fit the new one's masks best, by cross-entropy and soft Dice.

  Not by the method's loss, whose other terms tell the raters apart whatever the masks are.
  """
  own = _own(method)
  names = traverse_util.flatten_dict(params, sep='/')
  if all(re.search(own.fitted, name) for name in names if re.search(own.stacked, name)):
    return 0  # nothing is taken over
  grown = with_new_rater(method, params, num_raters)
  known = jnp.eye(num_raters + 1)[:num_raters]

  @jax.jit
  def misfits(grown, keys, images, masks):
    def misfit(row):
      key, image, mask = row
      maps = method.personalize(grown, key[None], image[None], known)[0]
      truth = jnp.broadcast_to(mask, (num_raters, *mask.shape))
      terms = losses.segmentation(jnp.log(maps + _TINY), truth)
      return terms['cross_entropy'] + terms['dice']

    return jax.lax.map(misfit, (keys, images, masks)).sum(0)

  few = np.linspace(0, len(image) - 1, min(_COMPARED, len(image))).astype(int)
  keys = image_keys(jax.random.key(seed), jnp.asarray(few))
  return int(misfits(grown, keys, image[few], masks[few]).argmin())


def _drawn_by(rater: int, image: jax.Array, masks: jax.Array) -> Batch:
  """Images that this rater alone annotated, the last of the raters."""
  count = len(image)
  everyone = jnp.zeros((count, rater + 1, *masks.shape[1:]), masks.dtype).at[:, rater].set(masks)
  number = jnp.arange(count)
  annotated = jnp.broadcast_to(jnp.arange(rater + 1) == rater, (count, rater + 1))
  return Batch(image=image, masks=everyone, annotated=annotated, case=number, index=number)


def _own(method: Method) -> Any:
  if method.rater_params is None:
    raise ValueError('This method has no parameters of single raters; it cannot take in a new one.')
  return method.rater_params
