"""Closed forms of Gaussian noise, and chains whose right answer is known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.diffusion import gaussian, gaussian_loss
from multirater_jax.diffusion.schedules import SCHEDULES, make_schedule

pytestmark = pytest.mark.usefixtures('x64')
T = 12
ABAR = make_schedule('cosine', T)


def level(t):
  return jnp.asarray(ABAR[t])


def maps(count, seed=0):
  rng = np.random.default_rng(seed)
  return [jnp.asarray(rng.normal(size=(3, 4, 4, 1))) for _ in range(count)]


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_jumps_add_up_to_the_forward_process(schedule):
  """Mean factor and variance of s -> t after 0 -> s are those of 0 -> t."""
  abar = make_schedule(schedule, T)
  for s, t in itertools.combinations(range(T + 1), 2):
    alpha = abar[t] / abar[s]
    np.testing.assert_allclose(np.sqrt(alpha) * np.sqrt(abar[s]), np.sqrt(abar[t]))
    np.testing.assert_allclose(alpha * (1 - abar[s]) + 1 - alpha, 1 - abar[t], atol=1e-15)


def test_posterior_is_bayes_rule():
  """Product of two Gaussians in x_s: precision weighted."""
  x_t, x_0 = maps(2)
  for s, t in itertools.combinations([1, 3, 8, T], 2):
    alpha = ABAR[t] / ABAR[s]
    ahead, behind = alpha / (1 - alpha), 1 / (1 - ABAR[s])  # precisions of x_s
    mean, variance = gaussian.posterior(x_t, x_0, level(t), level(s))
    np.testing.assert_allclose(variance, 1 / (ahead + behind))
    expected = (x_t / np.sqrt(alpha) * ahead + np.sqrt(ABAR[s]) * x_0 * behind) * variance
    np.testing.assert_allclose(mean, expected)


def test_the_last_posterior_is_the_mask():
  x_t, x_0 = maps(2)
  mean, variance = gaussian.posterior(x_t, x_0, level(4), level(0))
  np.testing.assert_allclose(mean, x_0, atol=1e-14)
  assert not variance.any()


@pytest.mark.parametrize('kind', gaussian.PARAMETERIZATIONS)
def test_every_parameterization_gives_the_mask_back(kind):
  x_0, noise = maps(2)
  way = gaussian.PARAMETERIZATIONS[kind]
  t = jnp.array([1, 5, T])
  abar = jnp.asarray(ABAR)[t]
  x_t = gaussian.forward(x_0, noise, abar)
  target = way.target(x_0, noise, abar)
  np.testing.assert_allclose(way.clean(x_t, target, abar), x_0, atol=1e-9)
  np.testing.assert_allclose(gaussian.noise_of(x_t, x_0, abar), noise, atol=1e-9)


def test_v_is_the_signal_turned_by_a_right_angle():
  x_0, noise = maps(2)
  v = gaussian.PARAMETERIZATIONS['v'].target(x_0, noise, level(5))
  x_t = gaussian.forward(x_0, noise, level(5))
  np.testing.assert_allclose(x_t**2 + v**2, x_0**2 + noise**2)


def test_squared_error_is_a_mean_per_row():
  a, b = maps(2)
  np.testing.assert_allclose(
    gaussian_loss.squared_error(a, b), np.square(a - b).reshape(3, -1).mean(1)
  )


def test_variances_are_ordered_and_finite():
  for schedule in SCHEDULES:
    low, high = gaussian.variance_range(make_schedule(schedule, 100))
    assert low.shape == high.shape == (100,)
    assert np.isfinite(low).all() and (low <= high).all()


def test_bound_is_the_kl_of_two_gaussians_and_trains_the_variance_alone():
  x_t, x_0, guess = maps(3)
  log_range = tuple(jnp.asarray(bound[6]) for bound in gaussian.variance_range(ABAR))
  levels = (level(7), level(6))

  def value(guess, share):
    return gaussian_loss.bound(guess, share, x_t, x_0, levels=levels, log_range=log_range)

  share = jnp.full_like(x_t, 0.3)
  (p, _), (q, _) = (gaussian.posterior(x_t, x, *levels) for x in (x_0, guess))
  low = np.exp(log_range[0])
  model = np.exp(0.3 * log_range[1] + 0.7 * log_range[0])
  expected = 0.5 * (np.log(model / low) + (low + np.square(p - q)) / model - 1)
  np.testing.assert_allclose(value(guess, share), expected.mean((1, 2, 3)))
  np.testing.assert_allclose(value(x_0, 0 * share), 0, atol=1e-12)
  to_guess, to_share = jax.grad(lambda *x: value(*x).sum(), (0, 1))(guess, share)
  assert not to_guess.any() and to_share.any()
