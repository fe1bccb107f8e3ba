"""Plain-array calls for research code: sample a method, personalize it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from multirater_jax.method import Method, Params, image_keys

Images = Num[np.ndarray, 'b h w c'] | Num[jax.Array, 'b h w c']


def sample(
  method: Method, params: Params, image: Images, num_samples: int, seed: int = 0
) -> Float[np.ndarray, 'b s h w k']:
  """Class probabilities of ``num_samples`` plausible masks; image in [0, 1].

  A seed gives the same samples whatever the batch an image comes in at that position.
  """
  keys = image_keys(jax.random.key(seed), jnp.arange(len(image)))
  return np.asarray(compiled_sample(method, num_samples)(params, keys, jnp.asarray(image)))


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
  run = compiled_personalize(method)
  return np.asarray(run(params, keys, jnp.asarray(image), jnp.asarray(style, jnp.float32)))


@functools.lru_cache(maxsize=16)
def compiled_sample(method: Method, num_samples: int):
  """``(params, keys, image) -> probs`` [b s h w k], compiled once a method and number."""
  return jax.jit(lambda params, keys, image: method.sample(params, keys, image, num_samples))


@functools.lru_cache(maxsize=16)
def compiled_personalize(method: Method):
  """``(params, keys, image, style) -> probs`` [b r h w k], compiled once a method."""
  return jax.jit(method.personalize)
