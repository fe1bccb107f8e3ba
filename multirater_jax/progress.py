"""A progress bar where a person watches, a line now and then where nobody does."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 15


class Progress:
  """Step, loss, images per second and time left of one stage; a context manager."""

  def __init__(self, stage: str, first: int, last: int):
    self._bar = tqdm(
      desc=stage, initial=first, total=last, unit='step', disable=not sys.stderr.isatty()
    )
    self._stage, self._first, self._last = stage, first, last
    self._start, self._spoken = time.monotonic(), 0.0

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.close()

  def update(self, step: int, values: dict[str, float]) -> None:
    """Shows the step and the newest values of ``loss`` and ``images_per_second``."""
    shown = f'loss {values["loss"]:.3f}, {values["images_per_second"]:.0f} images/s'
    self._bar.set_postfix_str(shown, refresh=False)
    self._bar.update(step - self._bar.n)
    now = time.monotonic()
    if self._bar.disable and (now - self._spoken > _SECONDS_BETWEEN_LINES or step == self._last):
      self._spoken = now
      left = (now - self._start) / max(step - self._first, 1) * (self._last - step)
      print(f'{self._stage}: step {step} of {self._last}, {shown}, {left:.0f} s left', flush=True)

  def say(self, text: str) -> None:
    """Writes a line beside the bar."""
    self._bar.write(text, file=sys.stderr)
