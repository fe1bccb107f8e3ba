"""The folder of a run: one run at a time, files that are never half written, what changed."""

import contextlib
import fcntl
import json
import math
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

LOCK_NAME = 'lock'
_ABSENT = '(absent)'


class WorkdirError(RuntimeError):
  """The folder of a run cannot be used."""


class Lock:
  """Holds a folder for one run; a context manager.

  The kernel releases the lock when the process ends, however it ends: a lock file that lies there
  is no obstacle. With several processes only the first one takes the lock.

  Raises:
    WorkdirError: on entry, if another run holds the folder or if it cannot be written.
  """

  def __init__(self, workdir: str | os.PathLike[str]):
    self._path = Path(workdir) / LOCK_NAME
    self._file: IO[str] | None = None

  def __enter__(self) -> 'Lock':
    try:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      file = self._path.open('a+', encoding='utf-8')
    except OSError as error:
      raise WorkdirError(f'{self._path.parent} cannot be written: {error.strerror}') from error
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      with file:
        raise WorkdirError(
          f'{self._path.parent} is in use by another run{_holder(file)}; '
          'wait for its end or choose another workdir'
        ) from None
    file.truncate(0)
    json.dump({'pid': os.getpid(), 'host': socket.gethostname()}, file)
    file.flush()
    self._file = file
    return self

  def __exit__(self, *exception: object) -> None:
    if self._file is not None:  # the file stays: to delete it would let two runs hold two files
      self._file.truncate(0)
      self._file.close()
      self._file = None


def _holder(file: IO[str]) -> str:
  with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
    file.seek(0)
    holder = json.load(file)
    return f' (process {holder["pid"]} on {holder["host"]})'
  return ''


def write_json(path: str | os.PathLike[str], value: Any) -> None:
  """Writes a JSON file that is, at any moment, either the old or the new one.

  Tuples become lists, NumPy values Python ones, and numbers that are not finite ``null``.
  """
  write_text(path, json.dumps(plain(value), indent=2, allow_nan=False) + '\n')


def write_text(path: str | os.PathLike[str], text: str) -> None:
  """Writes a text file that is, at any moment, the old or the new one, also after a crash."""
  path = Path(path)
  handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
  try:
    with os.fdopen(handle, 'w', encoding='utf-8') as file:
      file.write(text)
      file.flush()
      os.fchmod(handle, 0o666 & ~_umask())
      os.fsync(handle)
    os.replace(name, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(name)
    raise
  _sync_folder(path.parent)


def plain(value: Any) -> Any:
  """A value as JSON can hold it: tuples as lists, NumPy as Python, non-finite numbers as None."""
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, (np.ndarray, np.generic)):
    return plain(value.tolist())
  if isinstance(value, (list, tuple)):
    return [plain(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def config_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Lines ``key: old -> new`` for every setting that differs, by dotted key; empty if none does.

  Both sides are compared as JSON would hold them, so that a file can be compared with a config.
  """
  before, after = dict(_flatten(plain(old))), dict(_flatten(plain(new)))
  return [
    f'{key}: {_show(before, key)} -> {_show(after, key)}'
    for key in sorted(before.keys() | after.keys())
    if _show(before, key) != _show(after, key)
  ]


def _flatten(value: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
  items: Any = None
  if isinstance(value, Mapping):
    items = value.items()
  elif isinstance(value, Sequence) and any(isinstance(item, Mapping) for item in value):
    items = enumerate(value)
  if not items:
    yield prefix, value
    return
  for key, item in items:
    yield from _flatten(item, f'{prefix}.{key}' if prefix else str(key))


def _show(flat: Mapping[str, Any], key: str) -> str:
  return json.dumps(flat[key]) if key in flat else _ABSENT


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask


def _sync_folder(folder: Path) -> None:
  """Makes the new name itself durable; file systems without this are passed over."""
  with contextlib.suppress(OSError):
    handle = os.open(folder, os.O_RDONLY)
    try:
      os.fsync(handle)
    finally:
      os.close(handle)
