"""Draws masks by walking back through categorical noise."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from multirater_jax.diffusion.categorical import Probs, draw, marginal_posterior
from multirater_jax.diffusion.rows import Keys, step_keys
from multirater_jax.diffusion.schedules import Schedule

Predict = Callable[[Probs, Integer[Array, '']], Probs]  # (x_t one-hot, t) -> probabilities of x_0


def ancestral(
  keys: Keys,
  predict: Predict,
  *,
  abar: Schedule,
  steps: Integer[np.ndarray, ' j'],
  shape: tuple[int, ...],
) -> Float[Array, ' n *i']:
  """The last prediction of x_0 on the way from uniform noise, as probabilities.

  ``steps`` are those of ``schedules.spaced``, ``shape`` is one row's, classes last. What is carried
  is the distribution of x_s: each step draws from it, predicts, and moves on. At s = 0 it is the
  prediction itself.
  """
  times = (steps[1:], abar[steps[1:]], abar[steps[:-1]])
  start = jnp.full((len(keys), *shape), 1 / shape[-1])

  def step(probs, now):
    t, abar_t, abar_s = now
    x_t = draw(step_keys(keys, t), probs)
    return marginal_posterior(x_t, predict(x_t, t), abar_t, abar_s), None

  return jax.lax.scan(step, start, _device(times, start.dtype), reverse=True)[0]


def _device(times, dtype):
  t, *levels = times
  return jnp.asarray(t, jnp.int32), *(jnp.asarray(level, dtype) for level in levels)
