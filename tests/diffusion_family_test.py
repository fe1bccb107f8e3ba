import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax import diffusion_family
from multirater_jax.diffusion import categorical_process, gaussian_process, rows


@pytest.mark.parametrize('classes', [2, 4])
def test_masks_come_back_from_their_maps(classes):
  masks = jax.random.randint(jax.random.key(0), (3, 4, 4), 0, classes)
  maps = diffusion_family.to_maps(masks, classes)
  assert maps.shape == (3, 4, 4, classes - 1)
  np.testing.assert_array_equal(diffusion_family.to_probs(maps), jax.nn.one_hot(masks, classes))


def test_any_map_gives_probabilities():
  maps = 3 * jax.random.normal(jax.random.key(0), (3, 4, 4, 3))
  probs = diffusion_family.to_probs(maps)
  assert probs.min() >= 0
  np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-6)
  np.testing.assert_allclose(diffusion_family.to_probs(jnp.zeros((1, 1, 1, 1))), 0.5)


PROCESSES = {
  'categorical': (categorical_process.make_process('cosine', 20, 4, True), 2),
  'gaussian': (
    gaussian_process.make_process(
      'cosine', 20, num_steps=4, sampler='dpm_solver', parameterization='x0'
    ),
    1,
  ),
}


@pytest.mark.parametrize('name', PROCESSES)
def test_an_image_has_the_terms_and_samples_it_would_have_alone(name):
  process, channels = PROCESSES[name]
  keys = jax.random.split(jax.random.key(0), 3)
  masks = jax.nn.softmax(jax.random.normal(jax.random.key(1), (3, 5, 4, 4, channels)))

  def output(x, t):
    return jnp.roll(x, 1, axis=1) * 0.1 * t[:, None, None, None]

  terms = diffusion_family.mask_terms(process, keys, masks, output)
  alone = diffusion_family.mask_terms(process, keys[1:2], masks[1:2], output)
  for key, term in terms.items():
    assert term.shape == (3,)
    np.testing.assert_allclose(alone[key][0], term[1], rtol=1e-5)
  many = rows.sample_keys(keys, 5)
  found = diffusion_family.sample_masks(process, many, output, (4, 4, channels))
  assert found.shape == (3, 5, 4, 4, channels)
  one = diffusion_family.sample_masks(process, many[2:, 3:4], output, (4, 4, channels))
  np.testing.assert_allclose(one[0, 0], found[2, 3], atol=1e-6)
