"""How much of a mask is left after t steps of noise, and which steps a sampler visits.

``abar[t]`` for t = 0 ... T is a cumulative product, so alpha_t = abar[t] / abar[t-1] exactly and
the same holds for any two steps. NumPy in float64: schedules are constants.
"""

import numpy as np
from jaxtyping import Float, Integer

Schedule = Float[np.ndarray, ' t']  # abar, from abar[0] = 1 down to nearly 0


def cosine(steps: int, *, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
  """abar_t = prod_i (1 - beta_i), beta_i = min(1 - f(i / T) / f((i-1) / T), ``max_beta``).

  f(u) = cos^2((u + s) / (1 + s) pi / 2),  s = ``offset``.

  Source: Nichol and Dhariwal 2021 (arXiv:2102.09672), equation 17.
  """
  u = np.arange(steps + 1) / steps
  f = np.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2
  return _products(np.minimum(1 - f[1:] / f[:-1], max_beta))


def linear(steps: int, *, first: float = 1e-4, last: float = 0.02) -> Schedule:
  """Betas rise linearly from ``first`` to ``last``, both scaled by 1000 / T.

  Source: Ho et al. 2020 (arXiv:2006.11239), section 4.
  """
  scale = 1000 / steps
  return _products(np.minimum(np.linspace(first * scale, last * scale, steps), 0.999))


SCHEDULES = {'cosine': cosine, 'linear': linear}


def make_schedule(name: str, steps: int) -> Schedule:
  """A schedule by name; raises ValueError on a wrong name."""
  if name not in SCHEDULES:
    raise ValueError(f'There is no schedule "{name}"; choose one of {", ".join(SCHEDULES)}.')
  return SCHEDULES[name](steps)


def spaced(steps: int, count: int) -> Integer[np.ndarray, ' j']:
  """The ``count`` steps after 0 that a short chain visits: 0 = t_0 < t_1 < ... < t_count = T.

  Raises ValueError unless 1 <= count <= T.
  """
  if not 1 <= count <= steps:
    raise ValueError(f'A chain of {steps} steps cannot be sampled in {count}; give 1 to {steps}.')
  return np.round(np.linspace(0, steps, count + 1)).astype(np.int64)


def _products(betas: Float[np.ndarray, ' n']) -> Schedule:
  return np.concatenate([[1.0], np.cumprod(1 - betas)])
