"""Probabilistic U-Net (Kohl et al. 2018, arXiv:1806.05034): the base of the latent family."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from multirater_jax import losses
from multirater_jax.method import Loss, Method, image_keys
from multirater_jax.networks.latent import draw
from multirater_jax.networks.latent_unet import LatentUNet
from multirater_jax.networks.trunks import make_trunk


def prob_unet(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  dtype: Any = None,
  kl_weight: float = 1e-3,
  free_bits: float = 0.0,
  **latent: Any,
) -> Method:
  """Builds the Probabilistic U-Net: diverse masks, no personalization.

  Loss: cross-entropy (mean over pixels) + soft Dice of one posterior draw against one annotated
  rater drawn per image, + ``kl_weight`` KL(q || p). The paper sums the cross-entropy over pixels
  with weight 1 on the KL, which at 64x64 is ``kl_weight`` 2.4e-4 here; the Dice term is ours.
  ``latent`` goes to ``LatentUNet`` (latent_dim, encoder_widths, ...).
  """
  del num_raters  # any number; raters are drawn, none has an identity
  model = LatentUNet(make_trunk(dtype=dtype, **trunk), num_classes, dtype=dtype, **latent)

  def apply(params, method, *args):
    return model.apply({'params': params}, *args, method=method)

  def init(rng, batch):
    return model.init(rng, batch['image'], batch['masks'][:, 0])['params']

  def loss(params, rng, batch, step):
    del step
    run = functools.partial(apply, params)
    keys = jax.vmap(lambda key: jax.random.split(key, 2))(image_keys(rng, batch['index']))
    mask = losses.masks_of(batch['masks'], losses.choose_rater(keys[:, 0], batch['annotated']))
    prior, posterior = run('prior', batch['image']), run('posterior', batch['image'], mask)
    code = draw(keys[:, 1], posterior, 1)
    logits = run('decode', run('features', batch['image']).full, code)[:, 0]
    kl = losses.kl_gaussian(*posterior, *prior)
    terms = losses.segmentation(logits, mask)
    terms['kl'] = kl.sum(-1)
    value = terms['cross_entropy'] + terms['dice']
    value += kl_weight * jnp.maximum(kl, free_bits).sum(-1)
    return Loss(value, terms)

  def sample(params, rngs, image, num_samples):
    run = functools.partial(apply, params)
    codes = draw(rngs, run('prior', image), num_samples)
    return jax.nn.softmax(run('decode', run('features', image).full, codes))

  return Method(init, loss, sample)
