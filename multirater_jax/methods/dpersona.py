"""D-Persona (Wu et al. 2024, arXiv:2403.13417): diverse masks, then a query of each rater."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from multirater_jax import losses
from multirater_jax.latent_family import prior_bank, sample_prior
from multirater_jax.method import Loss, Method, RaterParams, image_keys
from multirater_jax.networks.binding import bind
from multirater_jax.networks.latent import draw
from multirater_jax.networks.latent_unet import LatentUNet
from multirater_jax.networks.persona_unet import PersonaUNet, all_mask_channels
from multirater_jax.networks.trunks import make_trunk


def dpersona(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  stage: str = 'diversify',
  dtype: Any = None,
  head_pool: int = 1,
  num_bound_samples: int = 10,
  kl_weight: float = 1e-2,
  free_bits: float = 0.0,
  bound_weight: float = 0.5,
  bank_size: int = 100,
  test_bank_size: int = 500,
  **latent: Any,
) -> Method:
  """Builds one stage of the method; both stages share all parameters.

  ``stage='diversify'`` trains the latent U-Net with the bound loss; ``'personalize'`` trains the
  projection heads alone (freeze the rest: ``freeze='^(?!raters/)'``). Differences from the paper:
  terms are per example, cross-entropy stands beside soft Dice as in every method here, missing
  raters are allowed, and ``kl_weight`` is below 1 since these terms are means over pixels.
  """
  if stage not in ('diversify', 'personalize'):
    raise ValueError(f'dpersona has the stages diversify and personalize, not "{stage}".')
  base = LatentUNet(make_trunk(dtype=dtype, **trunk), num_classes, dtype=dtype, **latent)
  model = PersonaUNet(base, num_raters, head_pool)

  def init(rng, batch):
    truth = all_mask_channels(batch['masks'], batch['annotated'], num_classes)
    return model.init(rng, batch['image'], truth)['params']

  def diversify(params, rng, batch, step):
    """CE + Dice of a posterior draw for one rater, KL(q || p), bounds of prior samples."""
    del step
    run, image = bind(base, params['base']), batch['image']
    keys = jax.vmap(lambda key: jax.random.split(key, 3))(image_keys(rng, batch['index']))
    mask = losses.masks_of(batch['masks'], losses.choose_rater(keys[:, 0], batch['annotated']))
    truth = all_mask_channels(batch['masks'], batch['annotated'], num_classes)
    prior, posterior = run('prior', image), run('posterior', image, truth)
    codes = [draw(keys[:, 1], posterior, 1), draw(keys[:, 2], prior, num_bound_samples)]
    logits = run('decode', run('features', image).full, jnp.concatenate(codes, axis=1))
    kl = losses.kl_gaussian(*posterior, *prior)
    terms = losses.segmentation(logits[:, 0], mask) | losses.kl_terms(kl)
    samples = jax.nn.softmax(logits[:, 1:])
    terms['bound'] = losses.bound(samples, batch['masks'], batch['annotated'])
    value = terms['cross_entropy'] + terms['dice'] + bound_weight * terms['bound']
    return Loss(value + kl_weight * jnp.maximum(kl, free_bits).sum(-1), terms)

  def personalize_loss(params, rng, batch, step):
    """CE + Dice of every rater's map for their own mask, mean over those who drew."""
    del step
    keys = image_keys(rng, batch['index'])
    logits = rater_logits(params, keys, batch['image'], jnp.eye(num_raters), bank_size)
    terms = losses.own_masks(logits, batch['masks'], batch['annotated'])
    return Loss(terms['cross_entropy'] + terms['dice'], terms)

  def rater_logits(params, keys, image, style, size):
    run = bind(base, params['base'])
    features, bank = run('features', image).full, prior_bank(run, keys, image, size)
    return run('decode', features, bind(model, params)('rater_codes', features, bank, style))

  def sample(params, rngs, image, num_samples):
    return sample_prior(bind(base, params['base']), rngs, image, num_samples)

  def personalize(params, rngs, image, style):
    return jax.nn.softmax(rater_logits(params, rngs, image, style, test_bank_size))

  loss = diversify if stage == 'diversify' else personalize_loss
  return Method(init, loss, sample, personalize, RaterParams('^raters/', '^raters/'))
