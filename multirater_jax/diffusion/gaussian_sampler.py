"""Ways back through Gaussian noise: each is a table of coefficients, all run by one scan.

A step from t to s is linear in what is at hand,

  x_s = state x_t + clean x0(x_t) + previous x0(x_before) + noise e^(spread share) z,

so ancestral sampling, DDIM and the second-order solver differ in their tables alone. ``share`` in
[0, 1] is how much of the sensible range of the variance a network asks for, where it does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from multirater_jax.diffusion.gaussian import Map, normal, variance_range
from multirater_jax.diffusion.rows import Keys, step_keys
from multirater_jax.diffusion.schedules import Schedule

# (x_t, t) -> x_0, or (x_0, share)
Predict = Callable[[Map, Integer[Array, '']], Map | tuple[Map, Map]]
Steps = Integer[np.ndarray, ' j1']  # of ``schedules.spaced``
Row = Float[np.ndarray, ' j']


class Plan(NamedTuple):
  """Coefficients of every step, in the order of ascending t; the last one taken is the first."""

  time: Integer[np.ndarray, ' j']
  state: Row
  clean: Row
  previous: Row
  noise: Row
  spread: Row


def ddim(abar: Schedule, steps: Steps, *, eta: float = 0.0) -> Plan:
  """Deterministic for ``eta`` 0; ancestral sampling for ``eta`` 1.

  Source: Song et al. 2021 (arXiv:2010.02502), equations 12 and 16.
  """
  low, high = abar[steps[:-1]], abar[steps[1:]]
  noise = eta * np.sqrt((1 - low) / (1 - high) * (1 - high / low))
  state = np.sqrt(np.maximum(1 - low - noise**2, 0) / (1 - high))
  zeros = np.zeros_like(low)
  return Plan(steps[1:], state, np.sqrt(low) - state * np.sqrt(high), zeros, noise, zeros)


def ancestral(abar: Schedule, steps: Steps) -> Plan:
  """Draws from the posterior q(x_s | x_t, x_0) at the predicted x_0, or with a learned variance.

  Source: Ho et al. 2020 (arXiv:2006.11239), equations 6 and 7, for any subset of the steps.
  """
  low, high = abar[steps[:-1]], abar[steps[1:]]
  alpha = high / low
  state = np.sqrt(alpha) * (1 - low) / (1 - high)
  clean = np.sqrt(low) * (1 - alpha) / (1 - high)
  noise = np.sqrt((1 - low) * (1 - alpha) / (1 - high))
  least, most = variance_range(abar[steps])
  spread = 0.5 * (most - least)
  return Plan(steps[1:], state, clean, np.zeros_like(low), noise, spread)


def dpm_solver(abar: Schedule, steps: Steps) -> Plan:
  """DPM-Solver++ 2M: second order from two successive predictions of x_0.

  x_s = sigma_s / sigma_t x_t - a_s (e^-h - 1) ((1 + 1/2r) x0_t - 1/2r x0_before),  where h is the
  step in half the log signal-to-noise ratio and r the step before over this one. The first step and
  the one to t = 0, where h is infinite, are of first order.

  Source: Lu et al. 2022 (arXiv:2211.01095), algorithm 2.
  """
  level = abar[steps]
  half_ratio = 0.5 * (np.log(level[1:]) - np.log1p(-level[1:]))  # at t_1 ... t_j
  extra = np.zeros(len(steps) - 1)
  if len(extra) > 2:
    jump = half_ratio[:-1] - half_ratio[1:]  # h of the steps 2 ... j
    extra[1:-1] = 0.5 * jump[:-1] / jump[1:]  # 1 / 2r
  plan = ddim(abar, steps)
  return plan._replace(clean=plan.clean * (1 + extra), previous=-plan.clean * extra)


SAMPLERS = {'ancestral': ancestral, 'ddim': ddim, 'dpm_solver': dpm_solver}


def sample(
  keys: Keys,
  predict: Predict,
  plan: Plan,
  *,
  shape: tuple[int, ...],
  clip: float | None = None,
  dtype: Any = jnp.float32,
) -> Map:
  """x_0 from noise along ``plan``, one key a row; ``shape`` is one row's.

  ``clip`` bounds the predictions to [-clip, clip].
  """
  start = normal(step_keys(keys, 0), shape, dtype)
  noisy = bool(plan.noise.any())

  def step(carry, now):
    x_t, before = carry
    guess = predict(x_t, now.time)
    guess, share = guess if isinstance(guess, tuple) else (guess, 0.0)
    guess = guess if clip is None else jnp.clip(guess, -clip, clip)
    x_s = now.state * x_t + now.clean * guess + now.previous * before
    if noisy:
      z = normal(step_keys(keys, now.time), shape, dtype)
      x_s += now.noise * jnp.exp(now.spread * share) * z
    return (x_s, guess), None

  table = Plan(jnp.asarray(plan.time, jnp.int32), *(jnp.asarray(c, dtype) for c in plan[1:]))
  return jax.lax.scan(step, (start, jnp.zeros_like(start)), table, reverse=True)[0][0]
