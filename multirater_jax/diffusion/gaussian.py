"""Gaussian diffusion of masks scaled to [-1, 1].

``abar_t`` and ``abar_s`` are the shares of the signal's variance left at steps t and s < t;
alpha = abar_t / abar_s is what one jump from s to t leaves, so the formulas hold for any subset of
the steps.

Source: Ho et al. 2020 (arXiv:2006.11239), Nichol and Dhariwal 2021 (arXiv:2102.09672).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from multirater_jax.diffusion.rows import Keys, Level, spread
from multirater_jax.diffusion.schedules import Schedule

Map = Float[Array, 'n *i k']


def normal(keys: Keys, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Map:
  """Standard noise, one key a row."""
  return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(keys)


def forward(x_0: Map, noise: Map, abar_t: Level) -> Map:
  """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise."""
  abar_t = spread(abar_t, x_0)
  return jnp.sqrt(abar_t) * x_0 + jnp.sqrt(1 - abar_t) * noise


def posterior(
  x_t: Map, x_0: Map, abar_t: Level, abar_s: Level
) -> tuple[Map, Float[Array, '#n *#i 1']]:
  """Mean and variance of q(x_s | x_t, x_0)."""
  abar_t, abar_s = spread(abar_t, x_t), spread(abar_s, x_t)
  alpha = abar_t / abar_s
  clean = jnp.sqrt(abar_s) * (1 - alpha) / (1 - abar_t)
  noisy = jnp.sqrt(alpha) * (1 - abar_s) / (1 - abar_t)
  variance = (1 - abar_s) * (1 - alpha) / (1 - abar_t)
  return clean * x_0 + noisy * x_t, variance


def variance_range(abar: Schedule) -> tuple[Float[np.ndarray, ' j'], Float[np.ndarray, ' j']]:
  """Logarithms of the least and largest sensible variance of the step from t to t - 1, t = 1 ... T.

  Least: the posterior's given the mask. Largest: beta_t. The posterior at t = 1 is a point, so it
  takes the value of t = 2.
  """
  beta = 1 - abar[1:] / abar[:-1]
  low = beta * (1 - abar[:-1]) / (1 - abar[1:])
  low[0] = low[1] if len(low) > 1 else beta[0]
  return np.log(low), np.log(np.maximum(beta, low))


class Parameterization(NamedTuple):
  """What a network predicts: its target from (x_0, noise), and the x_0 that an output means."""

  target: Callable[[Map, Map, Level], Map]  # (x_0, noise, abar_t)
  clean: Callable[[Map, Map, Level], Map]  # (x_t, output, abar_t) -> x_0


def _eps_clean(x_t, eps, abar_t):
  abar_t = spread(abar_t, x_t)
  return (x_t - jnp.sqrt(1 - abar_t) * eps) / jnp.sqrt(abar_t)


def _v_target(x_0, noise, abar_t):
  abar_t = spread(abar_t, x_0)
  return jnp.sqrt(abar_t) * noise - jnp.sqrt(1 - abar_t) * x_0


def _v_clean(x_t, v, abar_t):
  abar_t = spread(abar_t, x_t)
  return jnp.sqrt(abar_t) * x_t - jnp.sqrt(1 - abar_t) * v


# v: Salimans and Ho 2022 (arXiv:2202.00512), appendix D.
PARAMETERIZATIONS = {
  'x0': Parameterization(lambda x_0, noise, abar_t: x_0, lambda x_t, output, abar_t: output),
  'eps': Parameterization(lambda x_0, noise, abar_t: noise, _eps_clean),
  'v': Parameterization(_v_target, _v_clean),
}


def noise_of(x_t: Map, x_0: Map, abar_t: Level) -> Map:
  """The noise that turned ``x_0`` into ``x_t``."""
  abar_t = spread(abar_t, x_t)
  return (x_t - jnp.sqrt(abar_t) * x_0) / jnp.sqrt(1 - abar_t)
