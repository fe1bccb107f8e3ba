import jax
import jax.numpy as jnp
import numpy as np

from multirater_jax.networks.rater_gaussians import (
  FullGaussians,
  RaterGaussians,
  kl_to_prior,
  marginal_kl,
)


def test_starts_at_the_prior_covariance():
  module = RaterGaussians(3, 4, sigma=2.0)
  gaussians = module.apply(module.init(jax.random.key(0)))
  np.testing.assert_allclose(gaussians.factor, np.tile(2 * np.eye(4), (3, 1, 1)), atol=2e-3)
  assert np.abs(np.diff(gaussians.mean, axis=0)).max() > 0.1


def test_the_factor_stays_triangular_with_a_positive_diagonal():
  module = RaterGaussians(2, 3)
  params = module.init(jax.random.key(0))
  params = jax.tree.map(lambda leaf: leaf - 50.0, params)
  factor = np.asarray(module.apply(params).factor)
  assert (np.triu(factor, 1) == 0).all() and (np.diagonal(factor, axis1=1, axis2=2) > 0).all()
  assert np.isfinite(kl_to_prior(module.apply(params), 2.0)).all()


def test_kl_is_that_of_two_gaussians():
  rng, sigma = np.random.default_rng(0), 1.7
  factor = np.tril(rng.normal(size=(2, 3, 3))) + 2 * np.eye(3)
  mean = rng.normal(size=(2, 3))
  expected = [_kl(m, a @ a.T, sigma) for m, a in zip(mean, factor, strict=True)]
  actual = kl_to_prior(FullGaussians(jnp.asarray(mean), jnp.asarray(factor)), sigma)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_marginal_kl_of_a_diagonal_gaussian_adds_up():
  mean, scale = jnp.array([[0.3, -2.0]]), jnp.array([[0.5, 1.5]])
  gaussians = FullGaussians(mean, scale[:, :, None] * jnp.eye(2))
  np.testing.assert_allclose(marginal_kl(gaussians, 2.0).sum(), kl_to_prior(gaussians, 2.0)[0])


def _kl(mean, covariance, sigma):
  dim = len(mean)
  trace = (np.trace(covariance) + mean @ mean) / sigma**2
  return 0.5 * (trace - dim + dim * np.log(sigma**2) - np.linalg.slogdet(covariance)[1])
