"""A trunk whose head reads a code drawn from a Gaussian that belongs to a rater."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from multirater_jax.networks.latent import LatentHead
from multirater_jax.networks.rater_gaussians import FullGaussians, RaterGaussians
from multirater_jax.networks.unet import Features


class PiononoUNet(nn.Module):
  """Trunk, 1x1 head over [features, z], and the raters' Gaussians of z.

  Source: Schmidt et al. 2023 (arXiv:2307.11397), figure 2.
  """

  trunk: nn.Module
  num_classes: int
  num_raters: int
  latent_dim: int = 8
  head_width: int = 16
  sigma: float = 2.0
  dtype: Any = None

  def setup(self):
    """Names the parts."""
    self.raters = RaterGaussians(self.num_raters, self.latent_dim, self.sigma)
    self.head = LatentHead(self.num_classes, self.head_width, self.dtype)

  def features(self, image: Float[Array, 'b h w c']) -> Features:
    """What the head reads, independent of the code."""
    return self.trunk(image)

  def gaussians(self) -> FullGaussians:
    """q(z|r) of every rater."""
    return self.raters()

  def decode(
    self, features: Float[Array, 'b h w c'], codes: Float[Array, 'b s z']
  ) -> Float[Array, 'b s h w k']:
    """Logits of every code."""
    return self.head(features, codes)

  def __call__(self, image: Float[Array, 'b h w c']) -> None:
    """Runs every part once, so that ``init`` creates every parameter."""
    codes = self.gaussians().mean[None].repeat(image.shape[0], axis=0)
    self.decode(self.features(image).full, codes)
