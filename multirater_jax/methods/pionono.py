"""Pionono (Schmidt et al. 2023, arXiv:2307.11397): every rater is a Gaussian over codes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from multirater_jax import losses
from multirater_jax.method import Loss, Method, RaterParams, Rngs, image_keys
from multirater_jax.networks.binding import bind
from multirater_jax.networks.pionono_unet import PiononoUNet
from multirater_jax.networks.rater_gaussians import FullGaussians, kl_to_prior, marginal_kl
from multirater_jax.networks.trunks import make_trunk


def pionono(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  dtype: Any = None,
  latent_dim: int = 8,
  head_width: int = 16,
  sigma: float = 2.0,
  num_loss_samples: int = 5,
  kl_weight: float = 5e-4,
  consensus_weight: float = 1.0,
) -> Method:
  """Builds the method; its one stage trains trunk, head and Gaussians together.

  The last Gaussian is the consensus, trained on the vote fractions of the annotated masks; a style
  of R columns names raters, one of R + 1 also the consensus. Codes do not depend on the image, so
  samples are raters, not readings of this image. Differences from the paper: samples are averaged
  as probabilities, cross-entropy stands beside soft Dice as in every method here.
  """
  model = PiononoUNet(
    trunk=make_trunk(dtype=dtype, **trunk),
    num_classes=num_classes,
    num_raters=num_raters + 1,
    latent_dim=latent_dim,
    head_width=head_width,
    sigma=sigma,
    dtype=dtype,
  )

  def init(rng, batch):
    return model.init(rng, batch['image'])['params']

  def loss(params, rng, batch, step):
    """CE + Dice of a rater's mean map, CE of the consensus' against the votes, KL of both."""
    del step
    run = bind(model, params)
    keys = jax.vmap(lambda key: jax.random.split(key, 2))(image_keys(rng, batch['index']))
    rater = losses.choose_rater(keys[:, 0], batch['annotated'])
    gaussians = run('gaussians')
    consensus = jnp.full_like(rater, num_raters)
    raters = jnp.stack([rater, consensus], axis=1).repeat(num_loss_samples, axis=1)
    codes = draw_codes(keys[:, 1], gaussians, raters)
    logits = run('decode', run('features', batch['image']).full, codes)
    probs = jax.nn.softmax(logits)
    own = jnp.log(jnp.maximum(probs[:, :num_loss_samples].mean(1), 1e-9))
    terms = losses.segmentation(own, losses.masks_of(batch['masks'], rater))
    votes = probs[:, num_loss_samples:]
    terms['consensus'] = losses.consensus(votes, batch['masks'], batch['annotated'])
    terms |= losses.kl_terms(marginal_kl(gaussians, sigma)[rater])
    kl = kl_to_prior(gaussians, sigma)
    terms['kl'] = kl[rater] + kl[num_raters]
    value = terms['cross_entropy'] + terms['dice'] + consensus_weight * terms['consensus']
    return Loss(value + kl_weight * terms['kl'], terms)

  def sample(params, rngs, image, num_samples):
    """Codes of raters drawn uniformly."""
    run = bind(model, params)
    keys = jax.vmap(jax.random.split)(rngs)
    choose = jax.vmap(lambda key: jax.random.randint(key, (num_samples,), 0, num_raters))
    codes = draw_codes(keys[:, 1], run('gaussians'), choose(keys[:, 0]))
    return jax.nn.softmax(run('decode', run('features', image).full, codes))

  def personalize(params, rngs, image, style):
    """Maps of the raters' means; a row of ``style`` mixes them. Nothing is drawn."""
    del rngs
    run = bind(model, params)
    codes = style @ run('gaussians').mean[: style.shape[1]]
    codes = jnp.broadcast_to(codes, (image.shape[0], *codes.shape))
    return jax.nn.softmax(run('decode', run('features', image).full, codes))

  return Method(init, loss, sample, personalize, RaterParams('^raters/', '^raters/'))


def draw_codes(
  keys: Rngs, gaussians: FullGaussians, raters: Integer[Array, 'b s']
) -> Float[Array, 'b s z']:
  """Reparameterized codes of the named raters, one key per image."""
  shape = (raters.shape[1], gaussians.mean.shape[1])
  noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
  return gaussians.mean[raters] + jnp.einsum('bsij,bsj->bsi', gaussians.factor[raters], noise)
