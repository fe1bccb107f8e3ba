"""A trunk with a latent code: what every method of the latent family starts from."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from multirater_jax.networks.latent import Gaussian, GaussianEncoder, LatentHead
from multirater_jax.networks.unet import AfterBlock, Features


def mask_channels(mask: Integer[Array, 'b h w'], num_classes: int) -> Float[Array, 'b h w k1']:
  """What a posterior sees of one mask: one-hot, centered, background left out."""
  return jax.nn.one_hot(mask, num_classes)[..., 1:] - 0.5


class LatentUNet(nn.Module):
  """Trunk, Gaussian prior p(z|x) and posterior q(z|x, y), and a 1x1 head over [features, z].

  Source: Kohl et al. 2018 (arXiv:1806.05034), figure 1.
  """

  trunk: nn.Module
  num_classes: int
  latent_dim: int = 6
  encoder_widths: tuple[int, ...] = (16, 32, 64, 128)
  encoder_convs: int = 2
  encoder_patch: int = 1
  head_width: int = 16
  dtype: Any = None

  def setup(self):
    """Names the parts."""
    encoder = {
      'latent_dim': self.latent_dim,
      'widths': self.encoder_widths,
      'convs': self.encoder_convs,
      'patch': self.encoder_patch,
      'dtype': self.dtype,
    }
    self.prior_encoder = GaussianEncoder(**encoder)
    self.posterior_encoder = GaussianEncoder(**encoder)
    self.head = LatentHead(self.num_classes, self.head_width, self.dtype)

  def features(
    self, image: Float[Array, 'b h w c'], after_block: AfterBlock | None = None
  ) -> Features:
    """What the head reads, independent of the code."""
    return self.trunk(image, after_block)

  def prior(self, image: Float[Array, 'b h w c']) -> Gaussian:
    """p(z|x)."""
    return self.prior_encoder(image)

  def posterior(self, image: Float[Array, 'b h w c'], truth: Float[Array, 'b h w t']) -> Gaussian:
    """q(z|x, y): sees the image and the channels of one mask (``mask_channels``) or of several."""
    return self.posterior_encoder(jnp.concatenate([image, truth], axis=-1))

  def decode(
    self, features: Float[Array, 'b h w c'], codes: Float[Array, 'b s z']
  ) -> Float[Array, 'b s h w k']:
    """Logits of every code."""
    return self.head(features, codes)

  def decode_maps(
    self, features: Float[Array, 'b h w c'], codes: Float[Array, 'b s i j z']
  ) -> Float[Array, 'b s h w k']:
    """Logits of codes that vary over space."""
    return self.head.decode_maps(features, codes)

  def __call__(self, image: Float[Array, 'b h w c'], truth: Float[Array, 'b h w t']) -> None:
    """Runs every part once, so that ``init`` creates every parameter."""
    codes = self.prior(image).mean[:, None] + self.posterior(image, truth).mean[:, None]
    self.decode(self.features(image).full, codes)
