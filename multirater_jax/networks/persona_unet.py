"""The latent U-Net whose posterior sees all raters at once, with projection heads on top."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from multirater_jax.networks.latent_unet import LatentUNet
from multirater_jax.networks.projection_heads import ProjectionHeads, mix_bank


def all_mask_channels(
  masks: Integer[Array, 'b r h w'], annotated: Bool[Array, 'b r'], num_classes: int
) -> Float[Array, 'b h w t']:
  """One-hot masks of all raters, centered, background left out; r (k - 1) channels.

  A rater who did not draw shows the mean of those who did.
  """
  truth = jax.nn.one_hot(masks, num_classes)[..., 1:]
  drawn = annotated[:, :, None, None, None]
  mean = (truth * drawn).sum(1, keepdims=True) / jnp.maximum(drawn.sum(1, keepdims=True), 1)
  truth = jnp.moveaxis(jnp.where(drawn, truth, mean), 1, -2)
  return truth.reshape(*truth.shape[:3], -1) - 0.5


class PersonaUNet(nn.Module):
  """``base`` and one projection head a rater.

  Source: Wu et al. 2024 (arXiv:2403.13417), figure 2.
  """

  base: LatentUNet
  num_raters: int
  head_pool: int = 1

  def setup(self):
    """Names the parts."""
    latent_dim, dtype = self.base.latent_dim, self.base.dtype
    self.raters = ProjectionHeads(self.num_raters, latent_dim, pool=self.head_pool, dtype=dtype)

  def rater_codes(
    self,
    features: Float[Array, 'b h w c'],
    bank: Float[Array, 'b s z'],
    style: Float[Array, 'r d'],
  ) -> Float[Array, 'b r z']:
    """One code a style: the bank as mixed by the style's query; a row may mix raters."""
    return mix_bank(self.raters(features, style), bank)

  def __call__(self, image: Float[Array, 'b h w c'], truth: Float[Array, 'b h w t']) -> None:
    """Runs every part once, so that ``init`` creates every parameter."""
    codes = self.base.prior(image).mean[:, None] + self.base.posterior(image, truth).mean[:, None]
    features = self.base.features(image).full
    self.base.decode(features, self.rater_codes(features, codes, jnp.eye(self.num_raters)))
