"""Reads files in several processes and hands on what they hold in the order of the files."""

import concurrent.futures.process
import contextlib
import contextvars
import functools
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from multirater_jax.data.errors import DataError
from tfds_builders.record import Entry

Item = TypeVar('Item')
Result = TypeVar('Result')
Example = dict[str, Any]

_workers = contextvars.ContextVar('workers', default=None)


class _Workers:
  """Processes that start at the first use, since that takes seconds."""

  def __init__(self, number: int):
    self.number = number
    self._pool: concurrent.futures.Executor | None = None

  def submit(self, *call: Any) -> concurrent.futures.Future:
    if self._pool is None:
      context = multiprocessing.get_context('spawn')  # forks of a process with threads may hang
      self._pool = concurrent.futures.ProcessPoolExecutor(self.number, context, initializer=_start)
    return self._pool.submit(*call)

  def close(self) -> None:
    if self._pool is not None:
      self._pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def jobs(number: int) -> Iterator[None]:
  """Within it, ``in_order`` and ``read`` use ``number`` processes beside this one; 1 is none.

  Raises:
    DataError: for a number below 1.
  """
  if number < 1:
    raise DataError(f'{number} jobs cannot read anything; give 1 or more.')
  workers = _Workers(number)
  token = _workers.set(workers if number > 1 else None)
  try:
    yield
  finally:
    _workers.reset(token)
    workers.close()


def in_order(
  work: Callable[[Item], Result], items: Iterable[Item], *, chunk: int = 1
) -> Iterator[Result]:
  """``map(work, items)``; with several jobs other processes do the work, ``chunk`` items a time.

  The results come in the order of the items, and no more than two chunks a job are under way. Then
  ``work``, items and results must be what a process can be sent.
  """
  workers = _workers.get()
  if workers is None:
    yield from map(work, items)
    return
  items = iter(items)
  chunks = iter(lambda: list(itertools.islice(items, chunk)), [])
  send = functools.partial(workers.submit, _map, work)
  waiting = deque(map(send, itertools.islice(chunks, 2 * workers.number)))
  try:
    while waiting:
      done = waiting.popleft().result()
      waiting.extend(map(send, itertools.islice(chunks, 1)))
      yield from done
  except concurrent.futures.process.BrokenProcessPool as error:
    raise DataError('A reading process was killed (no memory left?); use fewer jobs.') from error
  finally:
    for future in waiting:
      future.cancel()


def read(entries: Iterable[Entry], *, chunk: int = 1) -> Iterator[Iterator[Example]]:
  """The records of each entry; where one breaks, what came before it and then its ``DataError``.

  With one job a record is read when it is asked for; with several an entry's records are in memory
  together.
  """
  if _workers.get() is None:
    yield from (iter(reader()) for _, reader in entries)
    return
  for examples, error in in_order(_collect, (reader for _, reader in entries), chunk=chunk):
    yield _replay(examples, error)


def _collect(reader: Callable[[], Iterable[Example]]) -> tuple[list[Example], DataError | None]:
  examples = []
  try:
    for example in reader():
      examples.append(example)
  except DataError as error:
    return examples, error
  return examples, None


def _replay(examples: list[Example], error: DataError | None) -> Iterator[Example]:
  yield from examples
  if error is not None:
    raise error


def _map(work: Callable[[Item], Result], items: list[Item]) -> list[Result]:
  return list(map(work, items))


def _start() -> None:
  """A worker leaves an interrupt to the main process and ends with it, however that ends."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)
