import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.networks.spectral import fourier_band, haar_band, irfft2, rfft2

ROOT = Path(__file__).resolve().parents[2]
SIZES = [(8, 8), (16, 10), (9, 6)]


def maps(size, seed=0):
  x = np.random.default_rng(seed).normal(size=(2, *size, 3))
  return jnp.asarray(x, jnp.float32)


def both_halves(spectrum, size):
  """Energy of the whole spectrum: the columns that rfft2 leaves out mirror those it has."""
  twice = np.full(size[1] // 2 + 1, 2.0)
  twice[0] = 1
  if size[1] % 2 == 0:
    twice[-1] = 1
  return (np.abs(spectrum) ** 2 * twice[:, None]).sum()


@pytest.mark.parametrize('size', SIZES)
def test_fourier_transform_is_that_of_numpy_orthonormal_and_exact(size):
  x = maps(size)
  spectrum = jax.jit(rfft2)(x)
  expected = np.fft.rfft2(np.asarray(x, np.float64), axes=(1, 2), norm='ortho')
  np.testing.assert_allclose(spectrum, expected, atol=1e-5)
  np.testing.assert_allclose(both_halves(spectrum, size), np.square(x).sum(), rtol=1e-5)
  back = jax.jit(irfft2, static_argnums=1)(spectrum, size)
  np.testing.assert_allclose(back, x, atol=1e-6)


def test_fourier_transform_of_bfloat16_runs_in_float32():
  x = maps((8, 8)).astype(jnp.bfloat16)
  spectrum = jax.jit(rfft2)(x)
  assert spectrum.dtype == jnp.complex64
  np.testing.assert_array_equal(spectrum, jax.jit(rfft2)(x.astype(jnp.float32)))


@pytest.mark.parametrize('size', SIZES)
def test_fourier_band_weighs_every_frequency_by_its_radius(size):
  x = maps(size)
  band = fourier_band(size, jnp.float32(0.3), jnp.float32(0.1))
  rows, columns = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1]), indexing='ij')
  radius = np.hypot(rows, columns) / 0.5  # Nyquist
  weight = 1 / (1 + np.exp(-(radius - 0.3) / 0.1))
  spectrum = np.fft.rfft2(np.asarray(x, np.float64), axes=(1, 2), norm='ortho')
  expected = np.fft.irfft2(spectrum * weight[..., None], s=size, axes=(1, 2), norm='ortho')
  np.testing.assert_allclose(band.inverse(band.forward(x)), expected, atol=1e-5)


def test_cut_off_and_width_can_be_learned():
  x = maps((8, 8))

  def energy(cutoff, width):
    return jnp.sum(jnp.abs(fourier_band((8, 8), cutoff, width).forward(x)) ** 2)

  by_cutoff, by_width = jax.grad(energy, (0, 1))(jnp.float32(0.15), jnp.float32(0.05))
  assert by_cutoff < 0 and np.isfinite(by_width) and by_width != 0


def test_haar_details_are_what_the_means_of_squares_leave_out():
  x = maps((8, 12))
  band = haar_band()
  means = np.asarray(x).reshape(2, 4, 2, 6, 2, 3).mean((2, 4))
  smooth = means.repeat(2, 1).repeat(2, 2)
  details = band.forward(x)
  assert details.shape == (2, 4, 6, 9)
  np.testing.assert_allclose(smooth + band.inverse(details), x, atol=1e-6)
  energy = 4 * np.square(means).sum() + np.square(details).sum()
  np.testing.assert_allclose(energy, np.square(x).sum(), rtol=1e-6)


def test_haar_bands_are_orthonormal_and_named_in_order():
  band = haar_band()
  details = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 6, 9)), jnp.float32)
  np.testing.assert_allclose(band.forward(band.inverse(details)), details, atol=1e-6)
  across = jnp.tile(jnp.asarray([1.0, -1.0]), (1, 8, 4))[..., None]
  for image, place in [
    (across, 0),
    (across.swapaxes(1, 2), 1),
    (across * across.swapaxes(1, 2), 2),
  ]:
    energy = np.square(band.forward(image)).sum((0, 1, 2))
    assert energy[place] == 64 and energy.sum() == 64


@pytest.mark.parametrize(
  'band', [fourier_band((8, 8), jnp.float32(0.15), jnp.float32(0.05)), haar_band()]
)
def test_the_high_band_of_a_constant_is_small_and_of_a_checkerboard_all(band):
  for image, share in [
    (jnp.ones((1, 8, 8, 1)), 0),
    (jnp.where(jnp.indices((8, 8)).sum(0) % 2, 1.0, -1.0)[None, :, :, None], 1),
  ]:
    kept = band.inverse(band.forward(image))
    np.testing.assert_allclose(np.square(kept).mean(), share, atol=3e-3)


EIGHT_DEVICES = """
  import jax, jax.numpy as jnp, numpy as np
  from multirater_jax import sharding
  from multirater_jax.networks.spectral import irfft2, rfft2

  def change(x):
    return irfft2(2 * rfft2(x), (8, 6))

  def total(x):
    return jnp.sum(change(x) ** 2)

  def inside_scan(x):
    return jax.lax.scan(lambda carry, scale: (carry, change(scale * x)), (), jnp.arange(3.0))[1]

  mesh = sharding.data_mesh()
  assert mesh.size == 8
  x = np.random.default_rng(0).normal(size=(16, 8, 6, 2)).astype(np.float32)
  with jax.set_mesh(mesh):
    rows = sharding.place_batch(mesh, x)
    for function in (change, jax.grad(total), inside_scan):
      compiled = jax.jit(function).lower(rows).compile()
      for word in ('all-gather', 'all-to-all', 'all-reduce', 'collective-permute'):
        assert word not in compiled.as_text(), (function, word)
    np.testing.assert_allclose(jax.jit(change)(rows), 2 * x, atol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(rows), 8 * x, atol=1e-4)
    for rows in (1, 9):  # what cannot be divided still gives its numbers
      np.testing.assert_allclose(jax.jit(change)(x[:rows]), 2 * x[:rows], atol=1e-5)
"""


def test_each_device_transforms_its_own_rows():
  flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=8'
  program = '\n'.join(line[2:] for line in EIGHT_DEVICES.splitlines())
  environment = os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'}
  result = subprocess.run(
    [sys.executable, '-c', program],
    env=environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-3000:]
