"""What methods with a latent prior share: the loss of one rater's mask, samples of the prior.

``run`` is a ``LatentUNet`` bound to its parameters.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax import losses
from multirater_jax.method import Batch, Image, Loss, Rngs, SampleProbs, image_keys
from multirater_jax.networks.binding import Run
from multirater_jax.networks.latent import draw
from multirater_jax.networks.latent_unet import mask_channels


def elbo(
  run: Run, rng: Array, batch: Batch, *, num_classes: int, kl_weight: float, free_bits: float
) -> Loss:
  """Cross-entropy + soft Dice of a posterior draw for one rater's mask, + weighted KL(q || p).

  One annotated rater is drawn per image, uniformly; ``free_bits`` nats of each dimension are free.

  Source: Kohl et al. 2018 (arXiv:1806.05034), equation 4; the Dice term is ours.
  """
  keys = jax.vmap(lambda key: jax.random.split(key, 2))(image_keys(rng, batch['index']))
  mask = losses.masks_of(batch['masks'], losses.choose_rater(keys[:, 0], batch['annotated']))
  prior = run('prior', batch['image'])
  posterior = run('posterior', batch['image'], mask_channels(mask, num_classes))
  logits = run('decode', run('features', batch['image']).full, draw(keys[:, 1], posterior, 1))
  kl = losses.kl_gaussian(*posterior, *prior)
  terms = losses.segmentation(logits[:, 0], mask) | losses.kl_terms(kl)
  value = terms['cross_entropy'] + terms['dice']
  return Loss(value + kl_weight * jnp.maximum(kl, free_bits).sum(-1), terms)


def prior_bank(run: Run, rngs: Rngs, image: Image, size: int) -> Float[Array, 'b s z']:
  """Codes drawn from the prior, for each image with its own key."""
  return draw(rngs, run('prior', image), size)


def sample_prior(run: Run, rngs: Rngs, image: Image, num_samples: int) -> SampleProbs:
  """Masks of codes drawn from the prior; the features are computed once."""
  codes = prior_bank(run, rngs, image, num_samples)
  return jax.nn.softmax(run('decode', run('features', image).full, codes))
