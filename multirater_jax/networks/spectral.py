"""The high band of a feature map: Fourier (default) and Haar, each linear and invertible.

A band splits a map x into ``low + inverse(forward(x))``; a prompt changes only the second part.
Spectra are computed in float32 (there is no bfloat16 FFT).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from multirater_jax.networks.per_device import per_device

Map = Float[Array, 'b h w c']


class Band(NamedTuple):
  """A spectral transform restricted to its high band, as two linear functions."""

  forward: Callable  # map -> high band
  inverse: Callable  # high band -> map


def fourier_band(size: tuple[int, int], cutoff: Array, width: Array) -> Band:
  """The rFFT above a soft radial cut-off: weight sigmoid((rho - cutoff) / width).

  ``rho`` is the radius in units of the Nyquist frequency; ``cutoff`` and ``width`` may be learned.

  Source: ours (the paper's notes tell of a Haar transform, see ``haar_band``).
  """
  weight = jax.nn.sigmoid((_radius(size) - cutoff) / width)[:, :, None]
  return Band(
    forward=lambda x: rfft2(x) * weight,
    inverse=lambda band: irfft2(band, size),
  )


def haar_band() -> Band:
  """The three detail bands LH, HL, HH of one orthonormal Haar level, stacked along channels.

  Source: Karimijafarbigloo et al. (arXiv:2605.08210), as told by its public notes.
  """
  return Band(forward=_haar_details, inverse=_haar_inverse)


def rfft2(x: Map) -> Complex[Array, 'b h f c']:
  """Real 2-D FFT over space, orthonormal, each device on its own rows."""
  return per_device(lambda v: jnp.fft.rfft2(v, axes=(1, 2), norm='ortho'))(x.astype(jnp.float32))


def irfft2(spectrum: Complex[Array, 'b h f c'], size: tuple[int, int]) -> Map:
  """Inverse of ``rfft2`` for maps of ``size``."""
  return per_device(lambda v: jnp.fft.irfft2(v, s=size, axes=(1, 2), norm='ortho'))(spectrum)


def _radius(size):
  rows = jnp.fft.fftfreq(size[0])[:, None] * 2
  columns = jnp.fft.rfftfreq(size[1])[None, :] * 2
  return jnp.sqrt(rows**2 + columns**2)


def _haar_details(x: Map) -> Float[Array, 'b i j d']:
  a, b, c, d = x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2], x[:, 1::2, 1::2]
  return jnp.concatenate([a - b + c - d, a + b - c - d, a - b - c + d], axis=-1) / 2


def _haar_inverse(details: Float[Array, 'b i j d']) -> Map:
  lh, hl, hh = jnp.split(details / 2, 3, axis=-1)
  top = jnp.stack([lh + hl + hh, -lh + hl - hh], axis=3)
  bottom = jnp.stack([lh - hl - hh, -lh - hl + hh], axis=3)
  n, i, j, _, c = top.shape
  return jnp.stack([top, bottom], axis=2).reshape(n, 2 * i, 2 * j, c)
