"""A Gaussian diffusion as trained and sampled: its schedule, its sampler, what a network predicts.

``output(x_t, t)`` is the network under its parameters, for rows of a folded batch. With a learned
variance it has twice the channels of the mask.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from multirater_jax.diffusion import gaussian, gaussian_loss, gaussian_sampler
from multirater_jax.diffusion.rows import Keys
from multirater_jax.diffusion.schedules import Schedule, make_schedule, spaced

Maps = Float[Array, 'n h w k']
Output = Callable[[Maps, Integer[Array, ' n']], Float[Array, 'n h w k2']]


class GaussianProcess(NamedTuple):
  """``learn_variance``: the second half of the network's channels asks for a variance."""

  abar: Schedule
  plan: gaussian_sampler.Plan
  way: gaussian.Parameterization
  learn_variance: bool

  def training_terms(
    self, keys: Keys, t: Integer[Array, ' n'], x_0: Maps, output: Output
  ) -> dict[str, Float[Array, ' n']]:
    """What a prediction at steps ``t`` in 1 ... T costs, by name, mean over pixels.

    ``error``: the squared one of what is predicted; ``bound``, where the variance is learned: T
    times the step's part of the variational bound, in nats, which trains the variance alone.
    """
    abar = jnp.asarray(self.abar, x_0.dtype)
    noise = gaussian.normal(keys, x_0.shape[1:], x_0.dtype)
    x_t = gaussian.forward(x_0, noise, abar[t])
    guess, share = self._split(output(x_t, t))
    terms = {'error': gaussian_loss.squared_error(guess, self.way.target(x_0, noise, abar[t]))}
    if self.learn_variance:
      low, high = (jnp.asarray(x, x_0.dtype)[t - 1] for x in gaussian.variance_range(self.abar))
      clean = self.way.clean(x_t, guess, abar[t])
      levels = (abar[t], abar[t - 1])
      bound = gaussian_loss.bound(clean, share, x_t, x_0, levels=levels, log_range=(low, high))
      terms['bound'] = (len(self.abar) - 1) * bound
    return terms

  def sample(self, keys: Keys, output: Output, shape: tuple[int, int, int]) -> Maps:
    """x_0 in [-1, 1] at the end of the chain; one key a row, ``shape`` = (h, w, k)."""
    abar = jnp.asarray(self.abar, jnp.float32)

    def predict(x_t, t):
      guess, share = self._split(output(x_t, jnp.full(len(x_t), t)))
      clean = self.way.clean(x_t, guess, abar[t])
      return (clean, share) if self.learn_variance else clean

    return gaussian_sampler.sample(keys, predict, self.plan, shape=shape, clip=1.0)

  def _split(self, output):
    if not self.learn_variance:
      return output, None
    guess, share = jnp.split(output, 2, axis=-1)
    return guess, jax.nn.sigmoid(share)


def make_process(
  schedule: str,
  timesteps: int,
  *,
  num_steps: int,
  sampler: str,
  parameterization: str,
  learn_variance: bool = False,
) -> GaussianProcess:
  """``timesteps`` of noise, sampled in ``num_steps``; raises ValueError on a wrong name."""
  samplers, ways = gaussian_sampler.SAMPLERS, gaussian.PARAMETERIZATIONS
  _check_name('sampler', sampler, samplers)
  _check_name('parameterization', parameterization, ways)
  abar = make_schedule(schedule, timesteps)
  plan = samplers[sampler](abar, spaced(timesteps, num_steps))
  return GaussianProcess(abar, plan, ways[parameterization], learn_variance)


def _check_name(what, name, known):
  if name not in known:
    raise ValueError(f'There is no {what} "{name}"; choose one of {", ".join(known)}.')
