"""Closed forms against transition matrices, where every state can be counted."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.diffusion import categorical
from multirater_jax.diffusion.schedules import make_schedule, spaced

pytestmark = pytest.mark.usefixtures('x64')
every_class_number = pytest.mark.parametrize('k', [2, 3])
T = 12
ABAR = make_schedule('cosine', T)


def transition(alpha, k):
  """M[i, j] = q(x_t = j | x_{t-1} = i)."""
  return alpha * np.eye(k) + (1 - alpha) / k


def jump(s, t, k):
  """The product of the single steps from s to t."""
  m = np.eye(k)
  for step in range(s + 1, t + 1):
    m = m @ transition(ABAR[step] / ABAR[step - 1], k)
  return m


def states(k):
  """Every one-hot state as a row of one pixel."""
  return jnp.eye(k)[:, None]


def level(t):
  return jnp.asarray(ABAR[t])


def pairs():
  return itertools.combinations([0, 1, 3, 8, T], 2)


def random_probs(k, rows, seed=0):
  return jnp.asarray(np.random.default_rng(seed).dirichlet(np.ones(k), (rows, 1)))


@every_class_number
def test_marginal_is_the_product_of_single_steps(k):
  for s, t in pairs():
    keep = jnp.asarray(ABAR[t] / ABAR[s])
    np.testing.assert_allclose(
      categorical.marginal(states(k), keep)[:, 0], jump(s, t, k), atol=1e-14
    )


@every_class_number
def test_posterior_is_bayes_rule(k):
  for s, t in pairs():
    to_s, on, to_t = jump(0, s, k), jump(s, t, k), jump(0, t, k)
    for start, end in itertools.product(range(k), range(k)):
      if to_t[start, end] == 0:
        continue
      bayes = to_s[start] * on[:, end] / to_t[start, end]
      x_0, x_t = states(k)[start][None], states(k)[end][None]
      for form in (categorical.posterior, categorical.marginal_posterior):
        np.testing.assert_allclose(form(x_t, x_0, level(t), level(s))[0, 0], bayes, atol=1e-13)


@every_class_number
def test_plugged_in_beliefs_are_a_prior_and_averaged_ones_are_not(k):
  x_0, s, t = random_probs(k, 1), 3, 8
  prior = np.asarray(x_0)[0, 0]
  to_s, on, to_t = jump(0, s, k), jump(s, t, k), jump(0, t, k)
  for end in range(k):
    x_t = states(k)[end][None]
    each = [to_s[c] * on[:, end] / to_t[c, end] for c in range(k)]  # q(x_s | x_t, c)
    known = prior * to_t[:, end] / (prior @ to_t[:, end])  # p(c | x_t) by Bayes
    plugged = categorical.posterior(x_t, x_0, level(t), level(s))[0, 0]
    averaged = categorical.marginal_posterior(x_t, x_0, level(t), level(s))[0, 0]
    np.testing.assert_allclose(plugged, known @ np.array(each), atol=1e-13)
    np.testing.assert_allclose(averaged, prior @ np.array(each), atol=1e-13)
    assert np.abs(plugged - averaged).max() > 1e-3


@every_class_number
@pytest.mark.parametrize('count', [1, 3, T])
def test_the_short_chain_has_the_marginals_of_the_full_one(k, count):
  """The prediction is the true p(x_0 | x_t) of masks from a prior: nothing is lost by skipping."""
  steps, prior = spaced(T, count), np.random.default_rng(1).dirichlet(np.ones(k))
  probs = prior @ jump(0, T, k)
  for t, s in itertools.pairwise(steps[::-1]):
    to_t = jump(0, t, k)
    back = []
    for end in range(k):
      believed = prior * to_t[:, end] / (prior @ to_t[:, end])
      x_t, x_0 = states(k)[end][None], jnp.asarray(believed)[None, None]
      back.append(categorical.marginal_posterior(x_t, x_0, level(t), level(s))[0, 0])
    probs = probs @ np.array(back)
    np.testing.assert_allclose(probs, prior @ jump(0, s, k), atol=1e-12)


def test_the_last_step_returns_the_prediction():
  x_0, x_t = random_probs(3, 5), jax.nn.one_hot(jnp.arange(5) % 3, 3)[:, None]
  for t in (1, T):
    last = categorical.marginal_posterior(x_t, x_0, level(t), level(0))
    np.testing.assert_allclose(last, x_0, atol=1e-12)


def test_draws_have_the_frequencies_asked_for_and_never_the_impossible():
  probs = jnp.broadcast_to(jnp.array([0.0, 0.2, 0.5, 0.3, 0.0]), (4, 50, 50, 5))
  drawn = categorical.draw(jax.random.split(jax.random.key(0), 4), probs)
  np.testing.assert_array_equal(drawn.sum(-1), 1)
  np.testing.assert_allclose(drawn.mean((0, 1, 2)), probs[0, 0, 0], atol=0.02)
  np.testing.assert_array_equal(drawn.sum((0, 1, 2))[jnp.array([0, 4])], 0)
  assert (drawn[0] != drawn[1]).any()


def test_evidence_turns_what_the_rest_says_into_the_posterior():
  context, t = random_probs(3, 3), 4
  x_t = jax.nn.one_hot(jnp.arange(3), 3)[:, None]
  logits = categorical.add_evidence(jnp.log(context), x_t, level(t))
  to_t = jump(0, t, 3)
  expected = [np.asarray(context)[end, 0] * to_t[:, end] for end in range(3)]
  expected = [row / row.sum() for row in expected]
  np.testing.assert_allclose(jax.nn.softmax(logits)[:, 0], expected, atol=1e-13)


def test_kl_is_that_of_the_definition_and_stands_impossible_classes():
  p, q = random_probs(4, 6, 0), random_probs(4, 6, 1)
  expected = (p * np.log(p / q)).sum(-1)
  np.testing.assert_allclose(categorical.kl(p, q), expected, atol=1e-14)
  hard = jnp.array([[[1.0, 0.0]]])
  assert categorical.kl(hard, hard) == 0
  gradient = jax.grad(lambda q: categorical.kl(hard, q).sum())(hard)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize('soft', [False, True])
def test_the_loss_is_least_at_the_truth(soft):
  rng, t, k = np.random.default_rng(0), 5, 3
  truth = rng.dirichlet(np.ones(k), (2, 4, 4))
  x_0 = jnp.asarray(truth if soft else np.eye(k)[truth.argmax(-1)])
  x_t = jnp.asarray(np.eye(k)[rng.integers(0, k, (2, 4, 4))])
  levels = {'abar_t': level(t), 'abar_s': level(t - 1)}

  def terms(logits):
    return categorical.loss_terms(logits, x_t, x_0, **levels)

  best, other = (terms(jnp.log(p + 1e-9)) for p in (x_0, jnp.roll(x_0, 1, axis=-1)))
  np.testing.assert_allclose(best['kl'], 0, atol=1e-6)
  for name in ('kl', 'cross_entropy'):
    assert best[name].shape == (2,) and (other[name] > best[name]).all()


def test_at_the_first_step_the_loss_is_the_cross_entropy():
  x_0 = jnp.asarray(np.eye(2)[np.random.default_rng(0).integers(0, 2, (3, 4, 4))])
  logits = jnp.asarray(np.random.default_rng(1).normal(size=x_0.shape))
  terms = categorical.loss_terms(logits, x_0, x_0, abar_t=level(1), abar_s=level(0))
  np.testing.assert_allclose(terms['kl'], terms['cross_entropy'], rtol=1e-9)
