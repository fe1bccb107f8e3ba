"""Unpacking a downloaded archive without trusting it."""

import contextlib
import gzip
import os
import pathlib
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from multirater_jax.data.errors import DataError

MAX_RATIO = 200  # bytes unpacked for a byte packed; images stay far below
FLOOR = 2**24  # bytes that any archive may unpack to
BLOCK = 2**20
MAX_MEMBERS = 10**7
_UNREADABLE = (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, LookupError)
_DAMAGED = (*_UNREADABLE, zlib.error, zipfile.BadZipFile, tarfile.TarError)


def unpack(archive: str | os.PathLike, folder: str | os.PathLike) -> int:
  """Unpacks a zip, tar or tar.gz file into the new ``folder``, all or nothing; returns the files.

  Raises:
    DataError: when the folder exists, the archive is damaged, unpacks to more than ``MAX_RATIO``
      times its size, or has a member that is a link or device or leads out of the folder.
  """
  archive, folder = pathlib.Path(archive), pathlib.Path(folder)
  if folder.exists():
    raise DataError(f'{folder} exists; remove it or choose another folder.')
  if not archive.is_file():
    raise DataError(f'There is no file {archive}.')
  folder.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=f'.{folder.name}.', dir=folder.parent) as temporary:
    inside = pathlib.Path(temporary, 'unpacked')
    inside.mkdir()
    budget = _Budget(archive)
    try:
      with contextlib.closing(_members(archive, budget)) as members:
        count = sum(_write(inside, name, content, budget) for name, content in members)
    except DataError:
      raise
    except _DAMAGED as error:
      raise DataError(f'{archive} is damaged: {str(error) or type(error).__name__}.') from error
    os.replace(inside, folder)
  return count


class _Budget:
  """Counts bytes and files; raises once they are too many."""

  def __init__(self, archive: pathlib.Path):
    self.archive = archive
    self._bytes = max(FLOOR, archive.stat().st_size * MAX_RATIO)
    self._members = MAX_MEMBERS

  def spend(self, count: int) -> None:
    self._bytes -= count
    if self._bytes < 0:
      raise DataError(f'{self.archive} unpacks to over {MAX_RATIO} times its size; refused.')

  def member(self) -> None:
    self.spend(512)
    self._members -= 1
    if self._members < 0:
      raise DataError(f'{self.archive} has over {MAX_MEMBERS} members; refused.')


Member = tuple[str, IO[bytes] | None]  # None: a folder


def _members(archive: pathlib.Path, budget: _Budget) -> Iterator[Member]:
  return _zip(archive, budget) if zipfile.is_zipfile(archive) else _tar(archive, budget)


def _zip(archive: pathlib.Path, budget: _Budget) -> Iterator[Member]:
  with zipfile.ZipFile(archive) as file:
    for info in file.infolist():
      budget.member()
      mode = info.external_attr >> 16
      if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f'{info.filename!r} in {archive} is a link or device; refused.')
      if info.is_dir():
        yield info.filename, None
      else:
        with file.open(info) as content:
          yield info.filename, content


def _tar(archive: pathlib.Path, budget: _Budget) -> Iterator[Member]:
  with contextlib.ExitStack() as stack:
    raw = stack.enter_context(open(archive, 'rb'))
    packed = raw.read(2) == b'\x1f\x8b'
    raw.seek(0)
    stream = stack.enter_context(gzip.GzipFile(fileobj=raw)) if packed else raw
    file = stack.enter_context(tarfile.open(fileobj=_Bounded(stream, budget), mode='r:'))
    for info in file:
      budget.member()
      if not (info.isreg() or info.isdir()) or info.issparse():
        raise DataError(f'{info.name!r} in {archive} is a link or device; refused.')
      if info.isdir():
        yield info.name, None
      else:
        with file.extractfile(info) as content:
          yield info.name, content
      file.members = []  # else every header stays in memory
    while block := stream.read(BLOCK):  # to the checksum at the end
      budget.spend(len(block))


class _Bounded:
  """A stream that refuses to give much at once, as a forged header would ask for."""

  def __init__(self, stream: IO[bytes], budget: _Budget):
    self._stream = stream
    self._budget = budget

  def read(self, size: int = -1) -> bytes:
    if not 0 <= size <= 2 * BLOCK:
      raise DataError(f'{self._budget.archive} has a header of {size} bytes; refused.')
    return self._stream.read(size)

  def tell(self) -> int:
    return self._stream.tell()

  def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
    return self._stream.seek(place, whence)


def _write(root: pathlib.Path, name: str, content: IO[bytes] | None, budget: _Budget) -> int:
  """Writes one member below ``root``; returns 1 for a file and 0 for a folder."""
  target = _target(root, name, budget.archive)
  if content is None:
    target.mkdir(parents=True, exist_ok=True)
    return 0
  target.parent.mkdir(parents=True, exist_ok=True)
  with open(target, 'xb') as file:
    while block := content.read(BLOCK):
      budget.spend(len(block))
      file.write(block)
  return 1


def _target(root: pathlib.Path, name: str, archive: pathlib.Path) -> pathlib.Path:
  parts = pathlib.PurePosixPath(name.replace('\\', '/')).parts
  if not parts or parts[0] == '/' or '..' in parts or ':' in parts[0] or '\0' in name:
    raise DataError(f'{name!r} in {archive} leads out of the folder; refused.')
  return root.joinpath(*parts)
