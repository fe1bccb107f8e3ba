"""Faults of a folder's layout: the first one ends a preparation, a check collects them all."""

import contextlib
import contextvars
from collections.abc import Iterator

from multirater_jax.data.errors import DataError

_found = contextvars.ContextVar('found', default=None)


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
  """Within it, what ``each`` meets is added to the list and does not end anything."""
  found: list[str] = []
  token = _found.set(found)
  try:
    yield found
  finally:
    _found.reset(token)


@contextlib.contextmanager
def each() -> Iterator[None]:
  """Around what is done for one of many files: its ``DataError`` is collected, where that is on."""
  try:
    yield
  except DataError as error:
    found = _found.get()
    if found is None:
      raise
    found.append(str(error))
