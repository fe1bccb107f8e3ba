from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from multirater_jax.data import artifacts
from multirater_jax.data.artifacts import CONDITIONS, simulate


def picture(height=48, width=48, channels=1, seed=0):
  """A bright disk with some texture on dark ground, intensities well within [0, 1]."""
  row, column = np.meshgrid(np.arange(height), np.arange(width), indexing='ij')
  disk = np.hypot(row - height / 2, column - width / 2) < min(height, width) / 4
  texture = np.random.default_rng(seed).normal(0, 0.05, (height, width))
  image = np.clip(0.3 + 0.4 * disk + texture, 0.05, 0.95)
  return jnp.asarray(np.stack([image] * channels, axis=-1), jnp.float32)


def apply(name, image, seed=0):
  return np.asarray(jax.jit(CONDITIONS[name])(jax.random.key(seed), image))


def test_conditions_are_the_nine_of_the_protocol_and_streaks():
  assert list(CONDITIONS) == [
    *('noise 0.05', 'noise 0.15', 'noise 0.25'),
    *('blur 0.5', 'blur 1', 'blur 1.5'),
    *('gamma 1.25', 'gamma 1.5', 'gamma 1.75'),
    'streaks 0.06',
  ]


@pytest.mark.parametrize('kind', ['noise', 'blur', 'gamma'])
def test_conditions_grow_with_their_strength(kind):
  image = picture()
  names = [name for name in CONDITIONS if name.startswith(kind)]
  distances = [np.sqrt(np.mean((apply(name, image) - image) ** 2)) for name in names]
  assert distances[0] > 0.005
  assert all(b > 1.05 * a for a, b in pairwise(distances))


@pytest.mark.parametrize('name', CONDITIONS)
@pytest.mark.parametrize('shape', [(17, 30, 3), (5, 4, 1)])
def test_conditions_keep_any_shape_and_the_range(name, shape):
  image = picture(*shape)
  distorted = apply(name, image)
  assert distorted.shape == shape and distorted.dtype == np.float32
  assert 0 <= distorted.min() and distorted.max() <= 1
  np.testing.assert_array_equal(distorted, apply(name, image))


@pytest.mark.parametrize('sigma', [0.5, 1.0, 2.0])
def test_blur_is_a_gaussian_filter(sigma):
  image = picture(31, 40, 2)
  expected = ndimage.gaussian_filter(image, (sigma, sigma, 0), radius=(6, 6, 0), mode='reflect')
  np.testing.assert_allclose(artifacts.blur(image, sigma), expected, atol=1e-6)


def test_blur_of_zero_changes_nothing():
  image = picture()
  np.testing.assert_array_equal(artifacts.blur(image, 0.0), image)


def test_gamma_is_a_power():
  image = picture()
  np.testing.assert_allclose(apply('gamma 1.5', image), np.asarray(image) ** 1.5, rtol=1e-5)


@pytest.mark.parametrize('name, sigma', [('noise 0.05', 0.05), ('streaks 0.06', 0.06)])
def test_added_fields_have_the_stated_strength_and_no_offset(name, sigma):
  grey = jnp.full((64, 64, 1), 0.5)
  fields = np.stack([apply(name, grey, seed) for seed in range(20)]) - 0.5
  assert np.sqrt(np.mean(fields**2)) == pytest.approx(sigma, rel=0.1)
  assert abs(fields.mean()) < 0.003


def test_streaks_have_a_direction_and_noise_has_none():
  def anisotropy(name, seed):
    field = apply(name, jnp.full((64, 64, 1), 0.5), seed)[..., 0]
    down, across = np.gradient(field)
    tensor = np.cov(np.stack([down.ravel(), across.ravel()]))
    return np.divide(*np.linalg.eigvalsh(tensor)[::-1])

  assert min(anisotropy('streaks 0.06', seed) for seed in range(5)) > 2
  assert max(anisotropy('noise 0.05', seed) for seed in range(5)) < 1.2


def test_bias_field_is_smooth():
  grey = jnp.full((64, 64, 1), 0.5)
  field = np.log(np.asarray(artifacts.bias_field(jax.random.key(1), grey, 0.2)) / 0.5)
  assert 0.1 < np.ptp(field) < 1.2
  assert np.abs(np.diff(field, axis=0)).max() < 0.06


def distort(number, probability):
  images = jnp.stack([picture(24, 24)] * 100)
  keys = jax.random.split(jax.random.key(0), 100)
  change = jax.jit(lambda k, i: simulate(k, i, probability=probability))
  return keys, images, np.asarray(change(keys[:number], images[:number]))


@pytest.fixture(scope='module')
def all_distorted():
  return distort(100, 1.0)


def changed(images, distorted):
  return np.any(distorted != images, axis=(1, 2, 3))


def test_simulate_changes_the_stated_share_of_images(all_distorted):
  _, images, distorted = all_distorted
  assert changed(images, distorted).all()
  _, images, half = distort(100, 0.5)
  assert 0.35 < changed(images, half).mean() < 0.65
  chosen = changed(images, half)
  np.testing.assert_allclose(half[chosen], distorted[chosen], atol=1e-5)


def test_simulate_keeps_the_range_and_draws_every_kind(all_distorted):
  _, images, distorted = all_distorted
  assert distorted.dtype == np.float32 and 0 <= distorted.min() and distorted.max() <= 1
  rough = np.abs(np.diff(distorted, axis=2)).mean((1, 2, 3))
  clean = np.abs(np.diff(images, axis=2)).mean()
  bright = distorted.mean((1, 2, 3)) / np.asarray(images).mean()
  assert np.mean(rough > 1.3 * clean) > 0.2  # noise, streaks, sharp kernel
  assert np.mean(rough < 0.7 * clean) > 0.05  # soft kernel
  assert np.mean(np.abs(np.log(bright)) > 0.15) > 0.05  # gamma and bias field


def test_simulate_depends_on_the_key_of_the_image_only(all_distorted):
  keys, images, distorted = all_distorted
  alone = jax.jit(lambda k, i: simulate(k, i, probability=1.0))(keys[4:5], images[4:5])
  np.testing.assert_allclose(alone[0], distorted[4], atol=1e-5)
  assert len({image.tobytes() for image in distorted}) == 100
