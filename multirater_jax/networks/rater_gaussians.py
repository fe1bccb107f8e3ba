"""A Gaussian with full covariance for each rater, independent of the image."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class FullGaussians(NamedTuple):
  """N(mean, factor factor^T) of every rater; ``factor`` is lower triangular, diagonal > 0."""

  mean: Float[Array, 'r z']
  factor: Float[Array, 'r z z']


class RaterGaussians(nn.Module):
  """The Gaussians as parameters; the diagonal passes a softplus, so it cannot turn negative.

  Source: Schmidt et al. 2023 (arXiv:2307.11397), section 3.2; the softplus is ours.
  """

  num_raters: int
  latent_dim: int
  sigma: float = 2.0

  @nn.compact
  def __call__(self) -> FullGaussians:  # noqa: D102
    shape = (self.num_raters, self.latent_dim)
    mean = self.param('mean', nn.initializers.normal(1.0), shape)
    start = jnp.log(jnp.expm1(self.sigma))  # softplus(start) = sigma
    raw = self.param(
      'factor', lambda key: jnp.tile(start * jnp.eye(self.latent_dim), (shape[0], 1, 1))
    )
    diagonal = jax.nn.softplus(jnp.diagonal(raw, axis1=1, axis2=2)) + 1e-3
    return FullGaussians(mean, jnp.tril(raw, -1) + diagonal[:, :, None] * jnp.eye(self.latent_dim))


def kl_to_prior(gaussians: FullGaussians, sigma: float) -> Float[Array, ' r']:
  """KL(N(m, L L^T) || N(0, sigma^2 I)) in nats.

  1/2 ((|L|^2 + |m|^2) / sigma^2 - z) + z log sigma - sum log L_ii.
  """
  mean, factor = gaussians
  size = jnp.square(factor).sum((1, 2)) + jnp.square(mean).sum(1)
  dim = mean.shape[1]
  log_diagonal = jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)).sum(1)
  return 0.5 * (size / sigma**2 - dim) + dim * jnp.log(sigma) - log_diagonal


def marginal_kl(gaussians: FullGaussians, sigma: float) -> Float[Array, ' r z']:
  """KL of each dimension's marginal from the prior in nats: which dimensions say anything."""
  variance = jnp.square(gaussians.factor).sum(-1) / sigma**2
  shift = jnp.square(gaussians.mean) / sigma**2
  return 0.5 * (variance + shift - 1 - jnp.log(variance))
