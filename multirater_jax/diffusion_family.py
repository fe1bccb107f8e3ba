"""What methods of diffusion share: the network, the loss of given masks, samples."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key, Shaped

from multirater_jax import losses
from multirater_jax.diffusion.categorical_process import CategoricalProcess, Output
from multirater_jax.diffusion.gaussian_process import GaussianProcess
from multirater_jax.diffusion.rows import (
  fold,
  random_times,
  repeat,
  sample_keys,
  step_keys,
  unfold,
)
from multirater_jax.method import Batch, Image, Params, Rngs
from multirater_jax.networks.ambiguity_denoiser import AmbiguityDenoiser
from multirater_jax.networks.binding import bind
from multirater_jax.networks.denoiser import Denoiser, ImageDenoiser
from multirater_jax.networks.trunks import make_trunk

Network = ImageDenoiser | AmbiguityDenoiser
Process = CategoricalProcess | GaussianProcess


def make_network(
  channels: int,
  *,
  trunk: Mapping[str, Any],
  denoiser: Mapping[str, Any],
  bottleneck: Any = None,
  dtype: Any = None,
) -> ImageDenoiser:
  """The image's trunk and a denoiser of ``channels`` outputs; fields of either as mappings."""
  network = Denoiser(channels, bottleneck=bottleneck, dtype=dtype, **denoiser)
  return ImageDenoiser(make_trunk(dtype=dtype, **trunk), network, dtype)


def init_params(
  model: Network, rng: Array, image: Image, channels: int, condition: int | None = None
) -> Params:
  """Fresh parameters; ``channels`` of the noisy map, ``condition`` numbers beside it."""
  x = jnp.zeros((*image.shape[:3], channels))
  vector = None if condition is None else jnp.zeros((len(image), condition))
  return model.init(rng, image, x, jnp.zeros(len(image), jnp.int32), vector)['params']


def bind_output(
  model: Network,
  params: Params,
  image: Image,
  count: int,
  condition: Float[Array, 'b s d'] | None = None,
) -> Output:
  """``(x_t, t) -> output`` for ``count`` rows an image; each image is encoded once, here.

  ``condition`` has a vector for each row.
  """
  run = bind(model, params)
  features = repeat(run('encode', image), count)
  rows = None if condition is None else fold(condition)
  return lambda x, t: run('denoise', x, t, features, rows)


def choose_masks(
  keys: Key[Array, 'b s'] | Shaped[Array, 'b s'], batch: Batch
) -> tuple[Integer[Array, 'b s'], Integer[Array, 'b s h w']]:
  """An annotated rater and the mask they drew for every key."""
  raters = jax.vmap(losses.choose_rater, (1, None), 1)(keys, batch['annotated'])
  return raters, jax.vmap(losses.masks_of, (None, 1), 1)(batch['masks'], raters)


def mask_terms(
  process: Process, keys: Rngs, masks: Float[Array, 'b s h w k'], output: Output
) -> dict[str, Float[Array, ' b']]:
  """The process's terms by name, mean over the ``s`` masks of an image and their noises.

  Every mask, hard or soft, gets a step of its own.
  """
  count = masks.shape[1]
  t = random_times(step_keys(keys, 0), len(process.abar) - 1, count)
  rows = fold(sample_keys(step_keys(keys, 1), count))
  terms = process.training_terms(rows, fold(t), fold(masks), output)
  return {name: unfold(term, count).mean(1) for name, term in terms.items()}


def sample_masks(
  process: Process,
  keys: Key[Array, 'b s'] | Shaped[Array, 'b s'],
  output: Output,
  shape: tuple[int, int, int],
) -> Float[Array, 'b s h w k']:
  """The end of the chain, one sample for each key; ``shape`` = (h, w, k)."""
  return unfold(process.sample(fold(keys), output, shape), keys.shape[1])


def to_maps(masks: Integer[Array, '*b h w'], num_classes: int) -> Float[Array, '*b h w k1']:
  """Foreground classes as maps of -1 and 1: what Gaussian noise is added to."""
  return 2 * jax.nn.one_hot(masks, num_classes)[..., 1:] - 1


def to_probs(maps: Float[Array, '*b h w k1']) -> Float[Array, '*b h w k']:
  """Class probabilities of maps in [-1, 1]; background is what the others leave."""
  share = jnp.clip((maps + 1) / 2, 0, 1)
  share /= jnp.maximum(share.sum(-1, keepdims=True), 1)
  return jnp.concatenate([1 - share.sum(-1, keepdims=True), share], axis=-1)
