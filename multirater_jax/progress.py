"""A progress bar where a person watches, a line now and then where nobody does."""

import contextlib
import contextvars
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS = 10.0  # between two lines of a log

Item = TypeVar('Item')

_lines = contextvars.ContextVar('lines', default=False)


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
    if self._bar.disable and (now - self._spoken > SECONDS or step == self._last):
      self._spoken = now
      left = (now - self._start) / max(step - self._first, 1) * (self._last - step)
      print(f'{self._stage}: step {step} of {self._last}, {shown}, {left:.0f} s left', flush=True)

  def say(self, text: str) -> None:
    """Writes a line beside the bar."""
    self._bar.write(text, file=sys.stderr)


@contextlib.contextmanager
def lines() -> Iterator[None]:
  """Within it, ``follow`` also speaks where nobody looks: to a log file or a pipe."""
  token = _lines.set(True)
  try:
    yield
  finally:
    _lines.reset(token)


def follow(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
  """Yields the items and shows on the error stream how many of ``total`` are done."""
  if sys.stderr.isatty():
    yield from tqdm(items, desc=what, total=total, unit='')
    return
  spoken = time.monotonic()
  count = 0
  for count, item in enumerate(items, 1):
    yield item
    if _lines.get() and time.monotonic() - spoken > SECONDS:
      spoken = time.monotonic()
      _say(what, count, total)
  if _lines.get():
    _say(what, count, count)


def _say(what: str, count: int, total: int | None) -> None:
  print(f'{what}: {count:,}' + (f' of {total:,}' if total else ''), file=sys.stderr, flush=True)
