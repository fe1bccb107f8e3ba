"""CIMD (Rahman et al. 2023, arXiv:2304.04745): Gaussian diffusion with ambiguity latents."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from multirater_jax import diffusion_family, losses
from multirater_jax.diffusion import rows
from multirater_jax.diffusion.gaussian_process import make_process
from multirater_jax.method import Loss, Method, image_keys
from multirater_jax.networks.ambiguity_denoiser import AmbiguityDenoiser
from multirater_jax.networks.binding import bind
from multirater_jax.networks.latent import draw


def cimd(
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
  kl_weight: float = 1e-3,
  free_bits: float = 0.0,
  **latent: Any,
) -> Method:
  """Builds the method: diverse masks, no personalization.

  Squared error of what is predicted + ``kl_weight`` KL(q || p) for the mask of one annotated rater
  per image, under ``num_loss_draws`` noises; with ``learn_variance`` + ``bound_weight`` times the
  variational bound. The code comes from the posterior in training and from the prior in ``sample``,
  one a sample. Differences from the published code: the latent nets are trained and used, masks are
  scaled to [-1, 1], the noise is not what is predicted (``'eps'`` does), and few steps are taken.
  ``latent`` goes to ``AmbiguityDenoiser`` (latent_dim, encoder_widths, ...).
  """
  del num_raters  # any number; raters are drawn, none has an identity
  channels = num_classes - 1
  process = make_process(
    schedule,
    timesteps,
    num_steps=num_steps,
    sampler=sampler,
    parameterization=parameterization,
    learn_variance=learn_variance,
  )
  base = diffusion_family.make_network(
    channels * (1 + learn_variance), trunk=trunk, denoiser=denoiser, dtype=dtype
  )
  model = AmbiguityDenoiser(base, dtype=dtype, **latent)

  def init(rng, batch):
    return diffusion_family.init_params(model, rng, batch['image'], channels)

  def loss(params, rng, batch, step):
    del step
    keys, image = image_keys(rng, batch['index']), batch['image']
    draws = rows.sample_keys(rows.step_keys(keys, 0), 1)
    _, mask = diffusion_family.choose_masks(draws, batch)
    maps = diffusion_family.to_maps(mask, num_classes)
    run = bind(model, params)
    prior, posterior = run('prior', image), run('posterior', image, maps[:, 0])
    code = draw(rows.step_keys(keys, 1), posterior, num_loss_draws)
    output = diffusion_family.bind_output(model, params, image, num_loss_draws, code)
    maps = jnp.broadcast_to(maps, (len(image), num_loss_draws, *maps.shape[2:]))
    terms = diffusion_family.mask_terms(process, rows.step_keys(keys, 2), maps, output)
    kl = losses.kl_gaussian(*posterior, *prior)
    value = terms['error'] + kl_weight * jnp.maximum(kl, free_bits).sum(-1)
    value += bound_weight * terms.get('bound', 0.0)
    return Loss(value, terms | losses.kl_terms(kl))

  def sample(params, rngs, image, num_samples):
    code = draw(rows.step_keys(rngs, 0), bind(model, params)('prior', image), num_samples)
    output = diffusion_family.bind_output(model, params, image, num_samples, code)
    keys = rows.sample_keys(rows.step_keys(rngs, 1), num_samples)
    shape = (*image.shape[1:3], channels)
    return diffusion_family.to_probs(diffusion_family.sample_masks(process, keys, output, shape))

  return Method(init, loss, sample)
