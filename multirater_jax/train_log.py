"""What a step logs, kept on the device until it is read, and how fast steps come."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


class NotFiniteError(RuntimeError):
  """A term of the loss became NaN or infinite."""


def collapse(values: dict[str, float]) -> str | None:
  """What to say where the latent code carries nothing any more; None where all is well."""
  if values.get('active_dims', 1.0) >= 0.5:
    return None
  return (
    f'Warning: the posterior has collapsed onto the prior ({values["active_dims"]:.1f} active '
    'latent dimensions), so samples will hardly differ; lower kl_weight or raise free_bits.'
  )


class Window:
  """Times and logged terms since the last line of the log."""

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self._pending: list[tuple[int, Any]] = []
    self.restart()

  def restart(self) -> None:
    """Starts the clock anew, so that validation does not count as training."""
    self._start, self._waited = time.perf_counter(), 0.0

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Counts the time inside as waiting for data."""
    start = time.perf_counter()
    yield
    self._waited += time.perf_counter() - start

  def add(self, step: int, logs: Any) -> None:
    """Keeps the terms of a step on the device until ``close``."""
    self._pending.append((step, logs))

  def close(self) -> dict[str, float]:
    """Means of the terms, images per second and the share of time spent waiting for data.

    Raises NotFiniteError with the first step and term that is not finite.
    """
    fetched = [(step, jax.device_get(logs)) for step, logs in self._pending]
    for step, logs in fetched:
      for name, value in logs.items():
        if not np.isfinite(value):
          raise NotFiniteError(
            f'Step {step}: the term "{name}" is {value}. The last checkpoint before it is kept; '
            'lower the learning rate or the weight of that term, or check the data.'
          )
    seconds = max(time.perf_counter() - self._start, 1e-9)
    means = {name: float(np.mean([logs[name] for _, logs in fetched])) for name in fetched[-1][1]}
    means['images_per_second'] = self._batch_size * len(fetched) / seconds
    means['data_wait_share'] = self._waited / seconds
    self._pending.clear()
    self.restart()
    return means
