"""An image denoiser with a latent code for what the image leaves open."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from multirater_jax.networks.denoiser import ImageDenoiser
from multirater_jax.networks.latent import Gaussian, GaussianEncoder


class AmbiguityDenoiser(nn.Module):
  """``base`` conditioned on a code z: prior p(z|x), posterior q(z|x, y), both diagonal Gaussians.

  Source: Rahman et al. 2023 (arXiv:2304.04745), section 3; the code enters beside the time.
  """

  base: ImageDenoiser
  latent_dim: int = 6
  encoder_widths: tuple[int, ...] = (16, 32, 64)
  encoder_convs: int = 2
  encoder_patch: int = 2
  dtype: Any = None

  def setup(self):
    """Names the encoders."""
    sizes = (self.latent_dim, self.encoder_widths, self.encoder_convs, self.encoder_patch)
    self.prior_encoder = GaussianEncoder(*sizes, dtype=self.dtype)
    self.posterior_encoder = GaussianEncoder(*sizes, dtype=self.dtype)

  def prior(self, image: Float[Array, 'b h w c']) -> Gaussian:
    """p(z|x)."""
    return self.prior_encoder(image)

  def posterior(self, image: Float[Array, 'b h w c'], mask: Float[Array, 'b h w k']) -> Gaussian:
    """q(z|x, y) of one mask, as the diffusion has it."""
    return self.posterior_encoder(jnp.concatenate([image, mask], axis=-1))

  def encode(self, image: Float[Array, 'b h w c']) -> Float[Array, 'b i j f']:
    """The denoiser's features of images."""
    return self.base.encode(image)

  def denoise(
    self,
    x: Float[Array, 'n h w c'],
    t: Integer[Array, ' n'],
    features: Float[Array, 'n i j f'],
    code: Float[Array, 'n z'],
  ) -> Float[Array, 'n h w c2']:
    """The denoiser's output, in float32."""
    return self.base.denoise(x, t, features, code)

  def __call__(
    self,
    image: Float[Array, 'b h w c'],
    x: Float[Array, 'b h w c2'],
    t: Integer[Array, ' b'],
    condition: None = None,
  ) -> Float[Array, 'b h w c3']:
    """Every part once; what ``init`` runs. The code is the condition."""
    del condition
    code = self.prior(image).mean + self.posterior(image, x).mean
    return self.base(image, x, t, code)
