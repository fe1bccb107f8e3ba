"""The latent U-Net with a Harmonizer after every decoder block and a frequency-prompt head."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.frequency_prompts import FrequencyPrompts
from multirater_jax.networks.harmonizer import Modulation, modulate, penalty
from multirater_jax.networks.latent_unet import LatentUNet
from multirater_jax.networks.unet import Features


class HarmonizedUNet(nn.Module):
  """``base`` as it is, seen through the Harmonizer, personalized by the prompts.

  ``harmonizer=False`` leaves the features alone (the ablation, and the way to see what the
  Harmonizer does to a trained model: its parameters are then simply not read).
  """

  base: LatentUNet
  num_raters: int
  harmonizer: bool = True
  spectrum: str = 'fft'
  dtype: Any = None

  def setup(self):
    """Names the parts."""
    if self.harmonizer:
      self.modulation = Modulation(dtype=self.dtype)
    self.prompts = FrequencyPrompts(
      self.num_raters, self.base.latent_dim, self.spectrum, dtype=self.dtype
    )

  def features(self, image: Float[Array, 'b h w c']) -> tuple[Features, Float[Array, ' b']]:
    """Harmonized features, and the penalty on how much was changed (summed over levels)."""
    penalties = [jnp.zeros(image.shape[0])]

    def harmonize(level, x):
      if not self.harmonizer:
        return x
      gamma, beta = self.modulation(level, x)
      penalties.append(penalty(gamma, beta))
      return modulate(x, gamma, beta)

    return self.base.features(image, harmonize), sum(penalties)

  def rater_logits(
    self,
    features: Features,
    bank: Float[Array, 'b s z'],
    style: Float[Array, 'r d'],
  ) -> Float[Array, 'b r h w k']:
    """One logit map a style, decoded by the head of stage 1."""
    height = features.full.shape[1]
    quarter = min(features.levels, key=lambda level: abs(level.shape[1] - height // 4))
    return self.base.decode_maps(features.full, self.prompts(quarter, bank, style))

  def __call__(self, image: Float[Array, 'b h w c'], truth: Float[Array, 'b h w t']) -> None:
    """Runs every part once, so that ``init`` creates every parameter."""
    features, _ = self.features(image)
    codes = self.base.prior(image).mean[:, None] + self.base.posterior(image, truth).mean[:, None]
    self.base.decode(features.full, codes)
    self.rater_logits(features, codes, jnp.eye(self.num_raters))
