"""Losses of Gaussian diffusion: squared error, and a variational bound that trains the variance."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.diffusion.gaussian import Map, posterior
from multirater_jax.diffusion.rows import Level, spread


def squared_error(output: Map, target: Map) -> Float[Array, ' n']:
  """Mean over pixels and channels."""
  return jnp.square(output - target).mean(tuple(range(1, output.ndim)))


def bound(
  guess: Map,
  share: Map,
  x_t: Map,
  x_0: Map,
  *,
  levels: tuple[Level, Level],
  log_range: tuple[Level, Level],
) -> Float[Array, ' n']:
  """KL in nats of the true step to the model's, mean over pixels; trains the variance alone.

  The model's step has the mean of the posterior at ``guess`` (no gradient) and the log variance
  share high + (1 - share) low; ``levels`` = (abar_t, abar_s), ``log_range`` = (low, high) of
  ``variance_range``; ``share`` in [0, 1].

  Source: Nichol and Dhariwal 2021 (arXiv:2102.09672), equations 15 and 16.
  """
  mean, _ = posterior(x_t, x_0, *levels)
  model, _ = posterior(x_t, jax.lax.stop_gradient(guess), *levels)
  low, high = (spread(level, x_t) for level in log_range)
  log_variance = share * high + (1 - share) * low
  ratio = jnp.exp(low - log_variance)
  shift = jnp.square(mean - model) * jnp.exp(-log_variance)
  each = 0.5 * (log_variance - low + ratio + shift - 1)
  return each.mean(tuple(range(1, x_t.ndim)))
