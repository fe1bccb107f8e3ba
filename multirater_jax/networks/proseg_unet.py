"""A trunk with two latents: who draws (a Dirichlet), and where the border is unclear (a field)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.convolution import Conv
from multirater_jax.networks.latent import LatentHead
from multirater_jax.networks.stacked import StackedConv
from multirater_jax.networks.unet import Features, average_pool, check_size

_LOG_SIGMA_BOUND = 2.0  # a field of larger noise drowns the features
_CLASSIFIER_WIDTH = 32
Style = Float[Array, '*b s r']


class Field(NamedTuple):
  """A Gaussian at every pixel and channel; ``log_sigma`` lies in (-2, 2)."""

  mean: Float[Array, 'b s h w c']
  log_sigma: Float[Array, 'b s h w c']


class ProSegUNet(nn.Module):
  """Trunk, each rater's statistics of the ambiguity field, and a 1x1 head over [field, tau].

  The image is reconstructed from the drawn field by each rater's remapping and two convolutions;
  the paper's code spends a second U-Net on that. The bound on the field's sigma is ours, and so is
  ``field_pool``: the field lives on features averaged over squares of so many pixels, and the head
  then also reads the features at full size. A rater costs a fraction of their convolutions so.

  Source: ProSeg (arXiv:2512.00748), section 3.
  """

  trunk: nn.Module
  num_classes: int
  num_raters: int
  rater_dim: int = 8
  field_dim: int = 16
  field_pool: int = 1
  head_width: int = 16
  image_channels: int = 1
  dtype: Any = None

  def setup(self):
    """Names the parts."""
    width, stacked = self.field_dim, {'num_raters': self.num_raters, 'dtype': self.dtype}
    self.statistics = [StackedConv(width=n, **stacked) for n in (width, 2 * width, 2 * width)]
    self.remap = [StackedConv(width=n, **stacked) for n in (width, width // 2, width // 2)]
    self.reconstruction = [Conv(n, (3, 3), dtype=self.dtype) for n in (width, self.image_channels)]
    self.head = LatentHead(self.num_classes, self.head_width, self.dtype)
    self.classifier = nn.Dense(_CLASSIFIER_WIDTH)
    shape = (self.num_raters, _CLASSIFIER_WIDTH)
    self.signature = self.param('signature', nn.initializers.lecun_normal(1, 0), shape)
    self.alpha = self.param('alpha', self._spread, (self.num_raters, self.rater_dim))

  def _spread(self, key, shape):
    """Each rater begins with more weight on dimensions of their own."""
    del key
    period = min(shape)
    own = (jnp.arange(shape[1]) - jnp.arange(shape[0])[:, None]) % period == 0
    return jnp.where(own, 1.0, 0.1)

  def features(self, image: Float[Array, 'b h w c']) -> Features:
    """What the raters' statistics read."""
    return self.trunk(image)

  def concentrations(self) -> Float[Array, 'r d']:
    """Of the raters' Dirichlets; positive."""
    return jax.nn.softplus(self.alpha)

  def field(self, features: Float[Array, 'b h w c'], style: Style) -> Field:
    """The ambiguity as each style sees it, at ``1 / field_pool`` of the size."""
    check_size(features, self.field_pool)
    pooled = average_pool(features, self.field_pool) if self.field_pool > 1 else features
    b, h, w, c = pooled.shape
    x = jnp.broadcast_to(pooled[:, None], (b, style.shape[-2], h, w, c))
    statistics = _chain(self.statistics, x, style).astype(jnp.float32)
    mean, log_sigma = jnp.split(statistics, 2, axis=-1)
    return Field(mean, _LOG_SIGMA_BOUND * jnp.tanh(log_sigma / _LOG_SIGMA_BOUND))

  def decode(
    self,
    features: Float[Array, 'b h w c'],
    drawn: Float[Array, 'b s i j c'],
    tau: Float[Array, 'b s d'],
  ) -> Float[Array, 'b s h w k']:
    """Logits of a drawn field under a rater's preference."""
    b, s = tau.shape[:2]
    if self.field_pool > 1:
      same = jnp.broadcast_to(tau[:, :, None, None], (*drawn.shape[:4], tau.shape[-1]))
      return self.head.decode_maps(features, jnp.concatenate([drawn, same], axis=-1))
    logits = self.head(drawn.reshape(b * s, *drawn.shape[2:]), tau.reshape(b * s, 1, -1))
    return logits.reshape(b, s, *logits.shape[2:])

  def classify(self, tau: Float[Array, 'b d']) -> Float[Array, 'b r']:
    """Logits of whose preference it is."""
    return nn.relu(self.classifier(tau)) @ self.signature.T

  def reconstruct(
    self, drawn: Float[Array, 'b s h w c'], style: Style
  ) -> Float[Array, 'b s h w c2']:
    """The image as the drawn field tells it, at the field's size."""
    x = nn.relu(_chain(self.remap, drawn, style))
    b, s = x.shape[:2]
    x = nn.relu(self.reconstruction[0](x.reshape(b * s, *x.shape[2:])))
    x = self.reconstruction[1](x).astype(jnp.float32)
    return x.reshape(b, s, *x.shape[1:])

  def __call__(self, image: Float[Array, 'b h w c']) -> None:
    """Runs every part once, so that ``init`` creates every parameter."""
    style = jnp.zeros((image.shape[0], 1, self.num_raters))
    tau = jnp.broadcast_to(self.concentrations()[:1], (image.shape[0], 1, self.rater_dim))
    features = self.features(image).full
    drawn = self.field(features, style).mean
    self.decode(features, drawn, tau), self.classify(tau[:, 0]), self.reconstruct(drawn, style)


def _chain(layers: Sequence[StackedConv], x: Any, style: Style) -> Any:
  """The layers with a ReLU between them."""
  for number, layer in enumerate(layers):
    x = layer(nn.relu(x) if number else x, style)
  return x
