"""CCDM (Zbinden et al., ICCV 2023): categorical diffusion of one rater's mask given the image."""

from collections.abc import Mapping
from typing import Any

import jax

from multirater_jax import diffusion_family
from multirater_jax.diffusion import rows
from multirater_jax.diffusion.categorical_process import make_process
from multirater_jax.method import Loss, Method, image_keys


def ccdm(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  denoiser: Mapping[str, Any],
  dtype: Any = None,
  schedule: str = 'cosine',
  timesteps: int = 250,
  num_steps: int = 25,
  evidence: bool = True,
  num_loss_draws: int = 1,
  kl_weight: float = 1.0,
  cross_entropy_weight: float = 1.0,
) -> Method:
  """Builds the method: diverse masks, no personalization.

  Weighted KL of the step back + cross-entropy of the predicted mask, for the masks of
  ``num_loss_draws`` annotated raters drawn per image, each with noise of its own. ``sample`` takes
  ``num_steps`` of the ``timesteps``. Differences from the paper: the image enters through a trunk
  that runs once, the posterior is right for skipped steps, and the cross-entropy.
  """
  del num_raters  # any number; raters are drawn, none has an identity
  process = make_process(schedule, timesteps, num_steps, evidence)
  model = diffusion_family.make_network(num_classes, trunk=trunk, denoiser=denoiser, dtype=dtype)

  def init(rng, batch):
    return diffusion_family.init_params(model, rng, batch['image'], num_classes)

  def loss(params, rng, batch, step):
    del step
    keys = image_keys(rng, batch['index'])
    draws = rows.sample_keys(rows.step_keys(keys, 0), num_loss_draws)
    _, masks = diffusion_family.choose_masks(draws, batch)
    masks = jax.nn.one_hot(masks, num_classes)
    output = diffusion_family.bind_output(model, params, batch['image'], num_loss_draws)
    terms = diffusion_family.mask_terms(process, rows.step_keys(keys, 1), masks, output)
    value = kl_weight * terms['kl'] + cross_entropy_weight * terms['cross_entropy']
    return Loss(value, terms)

  def sample(params, rngs, image, num_samples):
    output = diffusion_family.bind_output(model, params, image, num_samples)
    keys, shape = rows.sample_keys(rngs, num_samples), (*image.shape[1:3], num_classes)
    return diffusion_family.sample_masks(process, keys, output, shape)

  return Method(init, loss, sample)
