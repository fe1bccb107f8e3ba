"""Harmonized features and frequency prompts (Karimijafarbigloo et al., arXiv:2605.08210).

Only the abstract and second-hand notes of the paper are public. The parts it names are here; where
it is silent the design is ours, and each docstring says so.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from multirater_jax import losses
from multirater_jax.latent_family import prior_bank
from multirater_jax.method import Loss, Method, RaterParams, image_keys
from multirater_jax.networks.binding import bind
from multirater_jax.networks.harmonized_unet import HarmonizedUNet
from multirater_jax.networks.latent import draw
from multirater_jax.networks.latent_unet import LatentUNet, mask_channels
from multirater_jax.networks.trunks import make_trunk


def harmonized(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  stage: str = 'diversify',
  dtype: Any = None,
  harmonizer: bool = True,
  spectrum: str = 'fft',
  num_loss_samples: int = 8,
  kl_weight: float = 1e-3,
  free_bits: float = 0.0,
  ged_weight: float = 0.5,
  ged_ramp_steps: int = 0,
  consensus_weight: float = 0.0,
  penalty_weight: float = 1e-3,
  consistency_weight: float = 0.1,
  bank_size: int = 100,
  test_bank_size: int = 500,
  **latent: Any,
) -> Method:
  """Builds one stage of the method; both stages share all parameters.

  ``stage='diversify'`` trains trunk, Harmonizer, prior, posterior and head; ``'personalize'``
  trains the frequency prompts alone (freeze the rest: ``freeze='^(?!prompts)'``).
  """
  if stage not in ('diversify', 'personalize'):
    raise ValueError(f'harmonized has the stages diversify and personalize, not "{stage}".')
  base = LatentUNet(make_trunk(dtype=dtype, **trunk), num_classes, dtype=dtype, **latent)
  model = HarmonizedUNet(base, num_raters, harmonizer, spectrum, dtype)

  def init(rng, batch):
    truth = mask_channels(batch['masks'][:, 0], num_classes)
    return model.init(rng, batch['image'], truth)['params']

  def diversify(params, rng, batch, step):
    """CE + Dice of a posterior draw, KL; GED, consensus of prior samples; penalty, consistency."""
    run = bind(base, params['base'])
    keys = jax.vmap(lambda key: jax.random.split(key, 3))(image_keys(rng, batch['index']))
    mask = losses.masks_of(batch['masks'], losses.choose_rater(keys[:, 0], batch['annotated']))
    image = batch.get('distorted', batch['image'])
    features, changed = bind(model, params)('features', image)
    prior = run('prior', image)
    posterior = run('posterior', image, mask_channels(mask, num_classes))
    codes = jnp.concatenate(
      [draw(keys[:, 1], posterior, 1), draw(keys[:, 2], prior, num_loss_samples)], axis=1
    )
    logits = run('decode', features.full, codes)
    kl = losses.kl_gaussian(*posterior, *prior)
    terms = losses.segmentation(logits[:, 0], mask) | losses.kl_terms(kl)
    samples = jax.nn.softmax(logits[:, 1:])
    terms |= losses.ged_loss(samples, batch['masks'], batch['annotated'])
    terms['consensus'] = losses.consensus(samples, batch['masks'], batch['annotated'])
    terms['penalty'] = changed
    value = terms['cross_entropy'] + terms['dice'] + penalty_weight * changed
    value += kl_weight * jnp.maximum(kl, free_bits).sum(-1)
    value += ged_weight * losses.ramp(step, ged_ramp_steps) * terms['ged_loss']
    value += consensus_weight * terms['consensus']
    if 'distorted' in batch and consistency_weight:
      # The barrier halves the step on CPU: without it XLA tangles both passes through the trunk.
      frozen = jax.lax.optimization_barrier(jax.lax.stop_gradient(params))
      clean, _ = bind(model, frozen)('features', batch['image'])
      terms['consistency'] = _relative_error(features.full, clean.full)
      value += consistency_weight * terms['consistency']
    return Loss(value, terms)

  def personalize_loss(params, rng, batch, step):
    """Mean over annotated raters of CE + Dice against their own mask, + GED of the rater maps."""
    del step
    keys = image_keys(rng, batch['index'])
    logits = rater_logits(params, keys, batch['image'], jnp.eye(num_raters), bank_size)
    terms = losses.own_masks(logits, batch['masks'], batch['annotated'])
    terms |= losses.ged_loss(jax.nn.softmax(logits), batch['masks'], batch['annotated'])
    return Loss(terms['cross_entropy'] + terms['dice'] + ged_weight * terms['ged_loss'], terms)

  def rater_logits(params, keys, image, style, size):
    run = bind(model, params)
    bank = prior_bank(bind(base, params['base']), keys, image, size)
    features, _ = run('features', image)
    return run('rater_logits', features, bank, style)

  def sample(params, rngs, image, num_samples):
    run = bind(base, params['base'])
    features, _ = bind(model, params)('features', image)
    return jax.nn.softmax(run('decode', features.full, prior_bank(run, rngs, image, num_samples)))

  def personalize(params, rngs, image, style):
    return jax.nn.softmax(rater_logits(params, rngs, image, style, test_bank_size))

  loss = diversify if stage == 'diversify' else personalize_loss
  own = '^prompts/(coefficients|offsets)'  # 14 numbers a rater
  return Method(init, loss, sample, personalize, RaterParams(own, own))


def _relative_error(x, target):
  """Mean squared difference per example, in units of the target's mean square."""
  x, target = x.astype(jnp.float32), target.astype(jnp.float32)
  axes = (1, 2, 3)
  return jnp.square(x - target).mean(axes) / (jnp.square(target).mean(axes) + 1e-6)
