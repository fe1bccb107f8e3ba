"""Annotator consensus prediction (Amit et al. 2023, arXiv:2306.09004): one diffusion, all levels.

Level c of an image that n raters annotated is what at least c of them marked.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from multirater_jax import diffusion_family
from multirater_jax.diffusion import rows
from multirater_jax.diffusion.gaussian_process import make_process
from multirater_jax.method import Loss, Method, Rngs, image_keys


def annotator_consensus(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  denoiser: Mapping[str, Any],
  dtype: Any = None,
  schedule: str = 'cosine',
  timesteps: int = 1000,
  num_steps: int = 25,
  sampler: str = 'ddim',
  parameterization: str = 'v',
  learn_variance: bool = False,
  bound_weight: float = 1e-3,
  num_loss_draws: int = 1,
) -> Method:
  """Builds the method: masks of consensus levels; their mean is the consensus.

  Squared error of what is predicted for ``num_loss_draws`` levels drawn per image, each with noise
  of its own; with ``learn_variance`` + ``bound_weight`` times the variational bound. ``sample``
  takes the levels of all raters in turn from one drawn at random. An image that fewer raters
  annotated trains levels between the embeddings, which are interpolated. Differences from the
  paper: the trunk is a U-Net, and ``'linear'`` noise, ``'eps'`` and the learned variance are not
  the defaults.
  """
  channels = num_classes - 1
  process = make_process(
    schedule,
    timesteps,
    num_steps=num_steps,
    sampler=sampler,
    parameterization=parameterization,
    learn_variance=learn_variance,
  )
  model = diffusion_family.make_network(
    channels * (1 + learn_variance), trunk=trunk, denoiser=denoiser, dtype=dtype
  )

  def init(rng, batch):
    return diffusion_family.init_params(model, rng, batch['image'], channels, num_raters)

  def loss(params, rng, batch, step):
    del step
    keys, image = image_keys(rng, batch['index']), batch['image']
    draws = rows.sample_keys(rows.step_keys(keys, 0), num_loss_draws)
    levels = jax.vmap(choose_level, (1, None), 1)(draws, batch['annotated'])
    votes = count_votes(batch['masks'], batch['annotated'], num_classes)
    maps = 2.0 * (votes[:, None] >= levels[:, :, None, None, None]) - 1
    condition = interpolate(levels, batch['annotated'].sum(-1)[:, None], num_raters)
    output = diffusion_family.bind_output(model, params, image, num_loss_draws, condition)
    terms = diffusion_family.mask_terms(process, rows.step_keys(keys, 1), maps, output)
    return Loss(terms['error'] + bound_weight * terms.get('bound', 0.0), terms)

  def sample(params, rngs, image, num_samples):
    first = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_raters))(rngs)
    levels = (first[:, None] + jnp.arange(num_samples)) % num_raters
    condition = jax.nn.one_hot(levels, num_raters)
    output = diffusion_family.bind_output(model, params, image, num_samples, condition)
    keys, shape = rows.sample_keys(rngs, num_samples), (*image.shape[1:3], channels)
    return diffusion_family.to_probs(diffusion_family.sample_masks(process, keys, output, shape))

  return Method(init, loss, sample)


def choose_level(keys: Rngs, annotated: Bool[Array, 'b r']) -> Integer[Array, ' b']:
  """A level in 1 ... n of the n annotated raters, uniformly; 1 for a padding row."""
  return jax.vmap(lambda key, n: jax.random.randint(key, (), 1, jnp.maximum(n, 1) + 1))(
    keys, annotated.sum(-1)
  )


def count_votes(
  masks: Integer[Array, 'b r h w'], annotated: Bool[Array, 'b r'], num_classes: int
) -> Float[Array, 'b h w k1']:
  """How many annotated raters gave a pixel each foreground class."""
  marks = jax.nn.one_hot(masks, num_classes)[..., 1:]
  return jnp.einsum('brhwk,br->bhwk', marks, annotated.astype(marks.dtype))


def interpolate(
  level: Integer[Array, 'b s'], count: Integer[Array, 'b 1'], num_raters: int
) -> Float[Array, 'b s r']:
  """Weights of the ``num_raters`` embeddings for level c of ``count`` raters.

  Level c of n stands at (c - 1/2) / n of the way, between the two nearest embeddings; with n the
  number of all raters it is one of them.
  """
  place = (level - 0.5) / jnp.maximum(count, 1) * num_raters - 0.5
  distance = jnp.abs(place[..., None] - jnp.arange(num_raters))
  return jnp.clip(1 - distance, 0, 1)
