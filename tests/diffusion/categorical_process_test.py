"""Chains run by the sampler, against the distribution they must draw from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.diffusion import categorical
from multirater_jax.diffusion.categorical_process import make_process
from multirater_jax.diffusion.categorical_sampler import ancestral
from multirater_jax.diffusion.schedules import make_schedule, spaced

T = 50
ABAR = make_schedule('cosine', T)


def keys(rows, seed=0):
  return jax.random.split(jax.random.key(seed), rows)


def two_masks(x_t, abar_t):
  """p(x_0 | x_t) where the mask is all of one class, by equal chances: pixels must agree."""
  each = jnp.log(categorical.marginal(x_t, abar_t)).sum((1, 2), keepdims=True)
  return jnp.broadcast_to(jax.nn.softmax(each), x_t.shape)


@pytest.mark.parametrize('count', [1, 5, T])
def test_a_perfect_denoiser_returns_the_mask(count):
  x_0 = jax.nn.one_hot(jnp.arange(2 * 4 * 4).reshape(2, 4, 4) % 3, 3)
  found = ancestral(
    keys(2), lambda x, t: x_0, abar=ABAR, steps=spaced(T, count), shape=x_0.shape[1:]
  )
  np.testing.assert_allclose(found, x_0, atol=1e-6)


@pytest.mark.parametrize('count', [10, T])
def test_samples_are_whole_masks_in_equal_numbers_whatever_the_steps(count):
  abar, n = jnp.asarray(ABAR, jnp.float32), 1000
  found = jax.jit(
    lambda keys: ancestral(
      keys,
      lambda x, t: two_masks(x, abar[t]),
      abar=ABAR,
      steps=spaced(T, count),
      shape=(4, 4, 2),
    )
  )(keys(n))
  share = np.asarray(found[..., 1])
  assert np.minimum(share, 1 - share).max() < 1e-3
  assert abs((share[:, 0, 0] > 0.5).mean() - 0.5) < 4 * 0.5 / np.sqrt(n)


def output(x_t, t):
  """A stand-in for a network: looks at neighbors and at the time."""
  return jnp.roll(x_t, 1, axis=1) * 2 - 0.01 * t[:, None, None, None] * jnp.arange(2.0)


@pytest.mark.parametrize('evidence', [False, True])
def test_a_row_depends_on_its_own_key_alone(evidence):
  process = make_process('cosine', T, 6, evidence)
  rows = keys(6)
  found = process.sample(rows, output, (4, 8, 2))
  np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
  alone = process.sample(rows[4:5], output, (4, 8, 2))
  np.testing.assert_allclose(alone[0], found[4], atol=1e-6)
  assert (found[0] != found[1]).any()
  again = process.sample(rows[::-1], output, (4, 8, 2))
  np.testing.assert_allclose(again[::-1], found, atol=1e-6)


def test_training_terms_of_a_row_depend_on_its_own_key_and_time():
  process = make_process('cosine', T, 6, True)
  masks = jax.nn.one_hot(jax.random.randint(jax.random.key(1), (4, 4, 4), 0, 2), 2)
  t = jnp.array([1, 20, 20, T])
  together = process.training_terms(keys(4), t, masks, output)
  for row in range(4):
    one = slice(row, row + 1)
    alone = process.training_terms(keys(4)[one], t[one], masks[one], output)
    for name, term in together.items():
      assert np.isfinite(term).all() and term[row] >= 0
      np.testing.assert_allclose(alone[name][0], term[row], rtol=1e-5)


def test_without_noise_the_evidence_is_the_mask():
  """A network that knows nothing still predicts the mask where nearly all of it is left."""
  process = make_process('cosine', T, 6, True)
  x = jax.nn.one_hot(jnp.arange(16).reshape(1, 4, 4) % 2, 2)
  blind = process.training_terms(keys(1), jnp.array([1]), x, lambda x_t, t: 0 * x_t)
  assert blind['cross_entropy'][0] < 0.01
