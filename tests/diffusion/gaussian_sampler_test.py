"""Chains on data whose best denoiser is known: x_0 ~ N(mean, variance), pixel by pixel."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.diffusion import gaussian
from multirater_jax.diffusion.gaussian_sampler import (
  SAMPLERS,
  ancestral,
  ddim,
  dpm_solver,
  sample,
)
from multirater_jax.diffusion.rows import step_keys
from multirater_jax.diffusion.schedules import make_schedule, spaced

T = 1024
MEAN, VARIANCE = 0.5, 0.3
every_sampler = pytest.mark.parametrize('name', SAMPLERS)


@pytest.fixture
def abar():
  return make_schedule('cosine', T)


def keys(rows, seed=0):
  return jax.random.split(jax.random.key(seed), rows)


def best(abar):
  """E[x_0 | x_t]."""
  levels = jnp.asarray(abar)

  def predict(x_t, t):
    a = levels[t].astype(x_t.dtype)
    gain = jnp.sqrt(a) * VARIANCE / (a * VARIANCE + 1 - a)
    return MEAN + gain * (x_t - jnp.sqrt(a) * MEAN)

  return predict


@every_sampler
@pytest.mark.parametrize('count', [1, 2, 3, 10])
def test_a_perfect_denoiser_returns_the_mask(name, count, abar):
  x_0 = jnp.sign(jax.random.normal(jax.random.key(1), (2, 4, 4, 1)))
  plan = SAMPLERS[name](abar, spaced(T, count))
  found = sample(keys(2), lambda x, t: x_0, plan, shape=(4, 4, 1))
  np.testing.assert_allclose(found, x_0, atol=1e-5)


@pytest.mark.parametrize('count', [1, 4, 50])
def test_ddim_with_all_its_noise_is_ancestral_sampling(count, abar):
  steps = spaced(T, count)
  for one, other in list(zip(ddim(abar, steps, eta=1.0), ancestral(abar, steps), strict=True))[:5]:
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_ancestral_steps_are_draws_of_the_posterior(abar, x64):
  steps = spaced(T, 5)
  plan = ancestral(abar, steps)
  x_t, x_0 = jax.random.normal(jax.random.key(0), (2, 1, 4, 4, 1))
  for row, (s, t) in enumerate(itertools.pairwise(steps)):
    mean, variance = gaussian.posterior(x_t, x_0, jnp.asarray(abar[t]), jnp.asarray(abar[s]))
    np.testing.assert_allclose(plan.state[row] * x_t + plan.clean[row] * x_0, mean)
    np.testing.assert_allclose(plan.noise[row] ** 2, variance.item(), atol=1e-15)


@every_sampler
def test_the_coefficients_keep_the_marginals(name, abar):
  """With the true x_0 and noise, a step without memory lands on the forward process at s."""
  steps = spaced(T, 7)
  plan = SAMPLERS[name](abar, steps)
  low, high = abar[steps[:-1]], abar[steps[1:]]
  clean = plan.clean + plan.previous
  np.testing.assert_allclose(plan.state * np.sqrt(high) + clean, np.sqrt(low), atol=1e-12)
  variance = plan.state**2 * (1 - high) + plan.noise**2
  np.testing.assert_allclose(variance, 1 - low, atol=1e-12)


def exact(x, level):
  """Where the noiseless chain leads ``x`` from the last step to 0."""
  spread = np.sqrt(VARIANCE / (level * VARIANCE + 1 - level))
  return MEAN + spread * (x - np.sqrt(level) * MEAN)


def error(make, count):
  """Largest distance to the exact end, in steps of equal logarithmic signal-to-noise ratio."""
  abar = np.concatenate([[1.0], 1 / (1 + np.exp(-2 * np.linspace(8, -5, 961)))])
  steps = np.concatenate([[0], np.arange(1, 962, 960 // count)])
  rows, shape = keys(2), (8, 8, 1)
  start = gaussian.normal(step_keys(rows, 0), shape, jnp.float64)
  found = sample(rows, best(abar), make(abar, steps), shape=shape, dtype=jnp.float64)
  return float(np.abs(found - exact(start, abar[-1])).max())


def test_the_solver_is_of_second_order_and_ddim_of_first(x64):
  counts = [15, 30, 60, 120]
  first, second = ([error(make, count) for count in counts] for make in (ddim, dpm_solver))
  assert all(b < a / 4 for a, b in zip(first, second, strict=True)), (first, second)
  assert np.log2(first[2] / first[3]) == pytest.approx(1, abs=0.1), first
  assert np.log2(second[2] / second[3]) == pytest.approx(2, abs=0.1), second


def test_the_solver_beats_ddim_on_the_cosine_schedule(abar):
  """At equal steps, by the spread of the samples, which the first-order steps lose."""
  rows, shape = keys(16), (16, 16, 1)

  def spread(make):
    return np.asarray(sample(rows, best(abar), make(abar, spaced(T, 10)), shape=shape)).std()

  one, two = (abs(spread(make) / np.sqrt(VARIANCE) - 1) for make in (ddim, dpm_solver))
  assert two < one / 2


@pytest.mark.parametrize('name', ['ancestral', 'ddim'])
def test_samples_have_the_moments_of_the_data(name, abar):
  plan = SAMPLERS[name](abar, spaced(T, 128))
  found = np.asarray(sample(keys(64), best(abar), plan, shape=(16, 16, 1)))
  assert found.mean() == pytest.approx(MEAN, abs=0.02)
  assert found.var() == pytest.approx(VARIANCE, rel=0.05)


@every_sampler
def test_a_row_depends_on_its_own_key_alone(name, abar):
  plan = SAMPLERS[name](abar, spaced(T, 6))
  found = sample(keys(5), best(abar), plan, shape=(4, 4, 1))
  alone = sample(keys(5)[3:4], best(abar), plan, shape=(4, 4, 1))
  np.testing.assert_allclose(alone[0], found[3], atol=1e-6)
  assert (found[0] != found[1]).any()


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_a_learned_variance_lies_between_the_posterior_and_the_step(share, abar):
  """A network that knows nothing: x_0 is 0, so what is left before the last step is noise."""
  steps = spaced(T, 4)
  plan = ancestral(abar, steps)
  plan = plan._replace(**{name: row[1:] for name, row in plan._asdict().items()})  # to t_1
  guess = lambda x, t: (0 * x, share + 0 * x)  # noqa: E731
  found = np.asarray(sample(keys(64), guess, plan, shape=(16, 16, 1)))
  variance, least, most = 1.0, *np.exp(gaussian.variance_range(abar[steps]))
  for row in reversed(range(3)):
    variance = variance * plan.state[row] ** 2 + (most if share else least)[row + 1]
  assert found.var() == pytest.approx(variance, rel=0.05)


def test_predictions_are_clipped(abar):
  plan = ddim(abar, spaced(T, 4))
  found = sample(keys(1), lambda x, t: 9 + 0 * x, plan, shape=(2, 2, 1), clip=1.0)
  np.testing.assert_allclose(found, 1, atol=1e-5)
