"""Walks a download, whatever its layout, and pairs CT series with their annotation files."""

import collections
import contextlib
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from multirater_jax.data.errors import DataError
from multirater_jax.progress import follow
from tfds_builders import parallel
from tfds_builders.lidc_idri.annotations import Reading, read_annotations
from tfds_builders.lidc_idri.dicom import Header, is_dicom, read_header
from tfds_builders.lidc_idri.series import by_series

_log = logging.getLogger(__name__)

NO_DICOM = 'files skipped: no DICOM'
ERRATUM = 'resubmitted'  # in a file's path: it replaces the other files of its series


class Download(NamedTuple):
  """What a download holds; ``counts`` tells what was passed over and why."""

  series: Mapping[str, list[Header]]  # by series UID; CT only
  readings: Mapping[str, Reading]  # by series UID; one for each
  counts: Mapping[str, int]


def files_below(roots: Iterable[pathlib.Path]) -> Iterator[pathlib.Path]:
  """Every regular file in the folders, each once, in a fixed order; links are not followed."""
  seen = set()
  for root in roots:
    for folder, folders, names in os.walk(root):
      folders.sort()
      for name in sorted(names):
        path = pathlib.Path(folder, name)
        if path not in seen and path.is_file() and not path.is_symlink():
          seen.add(path)
          yield path


def read_download(
  roots: Iterable[pathlib.Path],
  *,
  chosen: Mapping[str, str] | None = None,
  strict: bool = True,
) -> Download:
  """Indexes CT files and annotation files by their content, never by names or places.

  ``chosen`` names, for a series UID, the annotation file to use where several differ (the end of
  its path). Without ``strict``, broken files are counted and passed over, and so are series with
  annotation files that differ.

  Raises:
    DataError: when a file is broken, or two annotation files of a series differ.
  """
  counts: collections.Counter[str] = collections.Counter()
  headers: list[Header] = []
  readings: dict[str, list[Reading]] = collections.defaultdict(list)
  files = list(files_below(roots))
  read = follow(parallel.in_order(_index, files, chunk=64), 'files', len(files))
  for path, found in zip(files, read, strict=True):
    if found == NO_DICOM and path.suffix.lower() == '.dcm':  # a download cut off at its start
      _log.warning('%s is no DICOM file and is passed over; download it again.', path)
    with tolerated(counts, 'files', strict):
      if isinstance(found, DataError):
        raise found
      if isinstance(found, Reading):
        readings[found.series_uid].append(found)
      elif isinstance(found, Header):
        headers.append(found)
      else:
        counts[found] += 1
  picked = {}
  for key, found in readings.items():
    with tolerated(counts, 'series', strict):
      picked[key] = pick(found, (chosen or {}).get(key))
  counts['xml files'] = sum(map(len, readings.values()))
  counts['xml repeated'] = counts['xml files'] - len(readings)
  series = by_series(headers)
  counts['files of other modalities'] = len(headers) - sum(map(len, series.values()))
  return Download(series, picked, counts)


def _index(path: pathlib.Path) -> Header | Reading | DataError | str:
  """What a file holds: an image, annotations, something broken, or why it is passed over."""
  try:
    if path.suffix.lower() == '.xml':
      read = read_annotations(path)
      return read if isinstance(read, Reading) else f'xml skipped: {read.reason}'
    if is_dicom(path):
      return read_header(path)
  except DataError as error:
    return error
  return NO_DICOM


@contextlib.contextmanager
def tolerated(counts: collections.Counter, what: str, strict: bool) -> Iterator[None]:
  """Lets a ``DataError`` through when ``strict``, else logs and counts it."""
  try:
    yield
  except DataError as error:
    if strict:
      raise
    _log.error('%s', error)
    counts[f'{what} skipped: broken'] += 1


def pick(readings: list[Reading], chosen: str | None = None) -> Reading:
  """The reading to use of one series: files of equal content are one.

  Raises:
    DataError: when files differ and neither ``chosen`` nor the word for an erratum decides.
  """
  if chosen:
    readings = [read for read in readings if read.path.as_posix().endswith(chosen)] or readings
  different = {read.digest: read for read in reversed(readings)}
  corrected = [read for read in different.values() if ERRATUM in str(read.path).lower()]
  if len(different) > 1 and len(corrected) != 1:
    names = ' and '.join(sorted(str(read.path) for read in different.values()))
    raise DataError(f'{names} annotate one series in different ways; choose one in the overrides.')
  return corrected[0] if len(different) > 1 else next(iter(different.values()))
