"""Probabilistic U-Net (Kohl et al. 2018, arXiv:1806.05034): the base of the latent family."""

from collections.abc import Mapping
from typing import Any

from multirater_jax import latent_family
from multirater_jax.method import Method
from multirater_jax.networks.binding import bind
from multirater_jax.networks.latent_unet import LatentUNet, mask_channels
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

  def init(rng, batch):
    truth = mask_channels(batch['masks'][:, 0], num_classes)
    return model.init(rng, batch['image'], truth)['params']

  def loss(params, rng, batch, step):
    del step
    run = bind(model, params)
    weights = {'kl_weight': kl_weight, 'free_bits': free_bits}
    return latent_family.elbo(run, rng, batch, num_classes=num_classes, **weights)

  def sample(params, rngs, image, num_samples):
    return latent_family.sample_prior(bind(model, params), rngs, image, num_samples)

  return Method(init, loss, sample)
