"""How far a preparation has come: a bar where a person looks, a line now and then for a log."""

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
