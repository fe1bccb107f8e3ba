"""A categorical diffusion as trained and sampled: its schedule, its steps, and a network's output.

``output(x_t, t) -> logits`` is the network under its parameters, for rows of a folded batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from multirater_jax.diffusion import categorical
from multirater_jax.diffusion.categorical_sampler import ancestral
from multirater_jax.diffusion.rows import Keys
from multirater_jax.diffusion.schedules import Schedule, make_schedule, spaced

Masks = Float[Array, 'n h w k']
Output = Callable[[Masks, Integer[Array, ' n']], Masks]


class CategoricalProcess(NamedTuple):
  """``steps`` are those a sampler visits; ``evidence`` as in ``categorical.add_evidence``."""

  abar: Schedule
  steps: Integer[np.ndarray, ' j']
  evidence: bool

  def training_terms(
    self, keys: Keys, t: Integer[Array, ' n'], x_0: Masks, output: Output
  ) -> dict[str, Float[Array, ' n']]:
    """``categorical.loss_terms`` at steps ``t`` in 1 ... T; ``kl`` times T, the bound's size."""
    abar = jnp.asarray(self.abar, x_0.dtype)
    x_t = categorical.draw(keys, categorical.marginal(x_0, abar[t]))
    logits = self._logits(x_t, t, output)
    terms = categorical.loss_terms(logits, x_t, x_0, abar_t=abar[t], abar_s=abar[t - 1])
    return terms | {'kl': terms['kl'] * (len(self.abar) - 1)}

  def sample(self, keys: Keys, output: Output, shape: tuple[int, int, int]) -> Masks:
    """Probabilities of the mask after the last step; one key a row, ``shape`` = (h, w, k)."""

    def predict(x_t, t):
      return jax.nn.softmax(self._logits(x_t, jnp.full(len(x_t), t), output))

    return ancestral(keys, predict, abar=self.abar, steps=self.steps, shape=shape)

  def _logits(self, x_t, t, output):
    logits = output(x_t, t)
    if not self.evidence:
      return logits
    return categorical.add_evidence(logits, x_t, jnp.asarray(self.abar, x_t.dtype)[t])


def make_process(
  schedule: str, timesteps: int, num_steps: int, evidence: bool
) -> CategoricalProcess:
  """``timesteps`` of noise, sampled in ``num_steps``."""
  steps = spaced(timesteps, num_steps)
  return CategoricalProcess(make_schedule(schedule, timesteps), steps, evidence)
