"""A latent code for the manner of a mask: Gaussian encoders, and the 1x1 head that reads a code."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from multirater_jax.networks.unet import ConvBlock, average_pool, check_size, space_to_depth

_CODES = 4  # decoded together
_LOG_SIGMA_BOUND = 5.0  # exp of an unbounded log-sigma is how the field's KL becomes NaN


class Gaussian(NamedTuple):
  """A diagonal Gaussian; ``log_sigma`` lies in (-5, 5)."""

  mean: Float[Array, 'b z']
  log_sigma: Float[Array, 'b z']


class GaussianEncoder(nn.Module):
  """Encodes a map into a diagonal Gaussian: convolution levels, global mean, linear.

  Source: Kohl et al. 2018 (arXiv:1806.05034), section 2; group norm and the bound are ours.
  """

  latent_dim: int
  widths: tuple[int, ...] = (16, 32, 64, 128)
  convs: int = 2
  patch: int = 1
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Gaussian:  # noqa: D102
    check_size(x, self.patch * 2 ** (len(self.widths) - 1))
    x = space_to_depth(x.astype(self.dtype or x.dtype), self.patch)
    for level, width in enumerate(self.widths):
      x = average_pool(x) if level else x
      x = ConvBlock(width, self.convs, self.dtype)(x)
    x = nn.Dense(2 * self.latent_dim, name='moments')(x.astype(jnp.float32).mean((1, 2)))
    mean, log_sigma = jnp.split(x, 2, axis=-1)
    return Gaussian(mean, _LOG_SIGMA_BOUND * jnp.tanh(log_sigma / _LOG_SIGMA_BOUND))


def draw(
  keys: Key[Array, ' b'] | Shaped[Array, ' b'], gaussian: Gaussian, num_samples: int
) -> Float[Array, 'b s z']:
  """Reparameterized samples, one key per image."""
  shape = (num_samples, gaussian.mean.shape[-1])
  noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
  return gaussian.mean[:, None] + jnp.exp(gaussian.log_sigma)[:, None] * noise


class LatentHead(nn.Module):
  """Three 1x1 layers over [features, z], all samples at once.

  The first layer is linear in both, W [f; z] = W_f f + W_z z, so the features are projected once
  and a code adds a vector (or, where z is a map of its own, a map) to them. A few codes at a time
  pass the other layers, whose maps then stay in the cache: three times faster for 100 codes on CPU.

  Source: Kohl et al. 2018 (arXiv:1806.05034), ``f_comb``.
  """

  num_classes: int
  width: int = 16
  dtype: Any = None

  def setup(self):
    """Names the layers."""
    self.from_features = nn.Dense(self.width, dtype=self.dtype)
    self.from_latent = nn.Dense(self.width, use_bias=False, dtype=self.dtype)
    self.hidden = nn.Dense(self.width, dtype=self.dtype)
    self.logits = nn.Dense(self.num_classes, dtype=self.dtype)

  def __call__(
    self, features: Float[Array, 'b h w c'], codes: Float[Array, 'b s z']
  ) -> Float[Array, 'b s h w k']:
    """Logits of every code."""
    return self._decode(features, self.from_latent(codes)[:, :, None, None])

  def decode_maps(
    self, features: Float[Array, 'b h w c'], codes: Float[Array, 'b s i j z']
  ) -> Float[Array, 'b s h w k']:
    """Logits of codes that vary over space, given at a smaller size (resized bilinearly)."""
    b, h, w, _ = features.shape
    small = self.from_latent(codes)
    shape = (b, codes.shape[1], h, w, self.width)
    return self._decode(features, jax.image.resize(small, shape, 'linear'))

  def last_hidden(
    self, features: Float[Array, 'b h w c'], codes: Float[Array, 'b s z']
  ) -> Float[Array, 'b s h w e']:
    """The last layer before the logits, for every code."""
    return self._hidden(features, self.from_latent(codes)[:, :, None, None])

  def _hidden(self, features, shift):
    x = nn.relu(self.from_features(features)[:, None] + shift)
    return nn.relu(self.hidden(x))

  def _decode(self, features, shift):
    if self.is_initializing():  # where Linen makes the parameters of the layers
      return self.logits(self._hidden(features, shift)).astype(jnp.float32)
    x, hidden, logits = self.from_features(features), _linear(self.hidden), _linear(self.logits)

    def one_code(shift):
      return logits(nn.relu(hidden(nn.relu(x + shift)))).astype(jnp.float32)

    maps = jax.lax.map(one_code, jnp.moveaxis(shift, 1, 0), batch_size=_CODES)
    return jnp.moveaxis(maps, 0, 1)


def _linear(layer: nn.Dense) -> Callable:
  """A layer as a pure function, which may run inside a loop."""
  kernel, bias = (layer.variables['params'][name] for name in ('kernel', 'bias'))
  dtype = layer.dtype or kernel.dtype
  return lambda x: x.astype(dtype) @ kernel.astype(dtype) + bias.astype(dtype)
