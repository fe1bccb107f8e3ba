"""Frequency prompts: a rater's manner as a change of the high band of the features."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.attention import BankAttention, LargeKernelGate
from multirater_jax.networks.spectral import Band, fourier_band, haar_band

SPECTRA = ('fft', 'haar', 'none')
_GRID = {'fft': (16, 16), 'haar': (13, 13)}  # both sized to the paper's 0.07 M parameters


class FrequencyPrompts(nn.Module):
  """Turns decoder features and a bank of prior samples into one latent map a rater.

  A bank of ``components`` prompts is shared by all raters; rater r owns ``components`` coefficients
  c[r] and an offset of the query, so a new rater is a handful of numbers. With w the image's own
  mixture weights, the high band becomes high * (1 + sum_i w_i c[r, i] P_i); its inverse transform,
  gated, is added to the untouched low band and asks the bank for the rater's code. Raters are
  scanned, so memory does not grow with their number; inside the scan there are only FFTs, dots and
  elementwise work, since CPUs differentiate convolutions in a loop badly.

  Source: Karimijafarbigloo et al. (arXiv:2605.08210), as told by its public notes; where the code
  of a rater enters, the offset and all sizes are ours.
  """

  num_raters: int
  latent_dim: int
  spectrum: str = 'fft'
  components: int = 8
  channels: int = 16
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    features: Float[Array, 'b h w c'],
    bank: Float[Array, 'b s z'],
    style: Float[Array, 'r d'],
  ) -> Float[Array, 'b r h w z']:
    """Latent maps of every style; a row of ``style`` mixes the known raters."""
    x = nn.Dense(self.channels, dtype=self.dtype, name='reduce')(features).astype(jnp.float32)
    coefficients, offsets = self._raters(style)
    attend = BankAttention(name='bank_attention')(bank)
    query = self._linear('query', self.channels, nn.initializers.lecun_normal())
    fuse = self._linear('fuse', self.channels + self.latent_dim, nn.initializers.zeros)
    render = self._renderer(x)

    def one_rater(carry, rater):
      coefficient, offset = rater
      styled = render(coefficient)
      asked = query(styled) + offset
      return carry, attend(asked) + fuse(jnp.concatenate([styled, asked], axis=-1))

    _, codes = jax.lax.scan(jax.checkpoint(one_rater), (), (coefficients, offsets))
    return jnp.moveaxis(codes, 0, 1)

  def _linear(self, name, width, kernel_init):
    """A 1x1 layer onto the latent, as a pure function that may run inside the scan."""
    kernel = self.param(f'{name}_kernel', kernel_init, (width, self.latent_dim))
    bias = self.param(f'{name}_bias', nn.initializers.zeros, (self.latent_dim,))
    return lambda x: x @ kernel + bias

  def _raters(self, style):
    """Each style's prompt coefficients and query offset."""

    def around_one(key, shape):
      return 1 + 0.1 * jax.random.normal(key, shape)

    shape = (self.num_raters, self.components)
    coefficients = self.param('coefficients', around_one, shape)
    small = nn.initializers.normal(0.1)
    offsets = self.param('offsets', small, (self.num_raters, self.latent_dim))
    return style @ coefficients, style @ offsets

  def _renderer(self, x):
    """Returns ``coefficients -> map in that style``; all that raters share is computed here."""
    if self.spectrum == 'none':
      return lambda coefficient: x + 0 * coefficient.sum()
    band = self._band(x.shape[1:3])
    high = band.forward(x)
    rest = band.inverse(high)
    low = x - rest
    gate = LargeKernelGate(self.dtype, name='gate')(rest)
    prompts = self._prompts(high) * self._mixture(high)[:, :, None, None, None]

    def render(coefficient):
      change = jnp.einsum('i,bihwc->bhwc', coefficient.astype(prompts.dtype), prompts)
      return low + gate * band.inverse(high * (1 + change))

    return render

  def _band(self, size) -> Band:
    if self.spectrum == 'haar':
      return haar_band()
    cutoff = self.param('cutoff', nn.initializers.constant(0.15), ())
    width = self.param('cutoff_width', nn.initializers.constant(0.05), ())
    return fourier_band(size, cutoff, jax.nn.softplus(width))

  def _mixture(self, high):
    """The image's weights of the prompts: softmax of a linear layer on GAP + GMP of the band."""
    size = jnp.abs(high)
    pooled = size.mean((1, 2)) + _largest(size)
    return jax.nn.softmax(nn.Dense(self.components, name='mixture')(pooled))

  def _prompts(self, high):
    """The bank at the size of the band: complex for a complex band, real for a real one."""
    parts = 2 if jnp.iscomplexobj(high) else 1
    shape = (parts, self.components, *_GRID[self.spectrum], high.shape[-1])
    bank = self.param('prompts', nn.initializers.normal(0.1), shape)
    bank = jax.image.resize(bank, (*shape[:2], *high.shape[1:3], shape[-1]), 'linear')
    return (jax.lax.complex(bank[0], bank[1]) if parts == 2 else bank[0])[None]


def _largest(size: Float[Array, 'b h f c']) -> Float[Array, 'b c']:
  """The largest value over space, looked up by its place.

  The gradient of ``max`` finds the place by comparing with a value that XLA may have rounded in
  another way (|z| is recomputed), and is 0 / 0 where nothing compares equal.
  """
  flat = size.reshape(size.shape[0], -1, size.shape[-1])
  return jnp.take_along_axis(flat, flat.argmax(1, keepdims=True), axis=1)[:, 0]
