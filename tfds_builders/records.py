"""The side file ``records.json``: what stands where in a prepared set.

TFDS stores records in the order of a hash of their keys, and only reading tells that order. The
file is written once after preparation, so that splits by case and rater orders need no reading.
"""

import functools
import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from multirater_jax.data.errors import DataError
from multirater_jax.progress import follow
from tfds_builders.record import Stored

RECORDS = 'records.json'


class SetInfo(NamedTuple):
  """What is known of a prepared set without reading its images."""

  name: str
  raters: list[str]
  rater_identity: bool  # is rater k the same person on every image?
  num_classes: int
  hash: str  # sha256 of records.json, thus of every array
  records: list[dict[str, Any]]  # name, case, size, areas, digest; in on-disk order

  @property
  def cases(self) -> list[str]:
    """The case of every record, in on-disk order."""
    return [record['case'] for record in self.records]


def digest(record: dict[str, Any]) -> str:
  """sha256 of the decoded arrays of a record, their shapes and types."""
  sha = hashlib.sha256()
  for key in ('image', 'masks', 'annotated'):
    array = np.ascontiguousarray(record[key])
    sha.update(f'{key} {array.dtype.str} {array.shape}'.encode())
    sha.update(array)
  return sha.hexdigest()


def summarize(record: dict[str, Any]) -> dict[str, Any]:
  """The line of ``records.json`` for one decoded record."""
  masks, annotated = record['masks'], record['annotated']
  areas = [np.count_nonzero(mask) for mask in masks]
  return {
    'name': record['name'],
    'case': record['case'],
    'size': list(masks.shape[1:]),
    'areas': [int(area) if drawn else None for area, drawn in zip(areas, annotated, strict=True)],
    'digest': digest(record),
  }


def agrees(record: dict[str, Any], line: dict[str, Any]) -> bool:
  """Is this the record of that line? Its bytes are not hashed again: array_record and zlib did.

  Hashing took a third of the time of a first read.
  """
  return (
    record['name'] == line['name']
    and record['case'] == line['case']
    and record['masks'].shape[1:] == tuple(line['size'])
    and record['annotated'].tolist() == [area is not None for area in line['areas']]
  )


def write_records(directory: pathlib.Path) -> None:
  """Reads every record once and writes ``records.json`` beside the shards, all or nothing."""
  source = Stored(directory)
  numbers = follow(range(len(source)), 'records checked', len(source))
  records = [summarize(source[index]) for index in numbers]
  if not records:
    raise DataError(f'The data set in {directory} has no record.')
  names = {record['name'] for record in records}
  if len(names) != len(records):
    raise DataError(f'The data set in {directory} has two records of one name.')
  temporary = directory / f'{RECORDS}.tmp'
  temporary.write_text('[\n' + ',\n'.join(map(json.dumps, records)) + '\n]\n')
  os.replace(temporary, directory / RECORDS)


def read_info(directory: str | pathlib.Path) -> SetInfo:
  """Raters, classes, fingerprint and the list of records of a prepared set.

  Raises:
    DataError: when the folder holds no finished set.
  """
  return _read_info(pathlib.Path(directory).resolve())


@functools.lru_cache(maxsize=8)
def _read_info(directory: pathlib.Path) -> SetInfo:
  import tensorflow_datasets as tfds

  if not (directory / RECORDS).is_file() or not (directory / 'dataset_info.json').is_file():
    raise DataError(f'{directory} holds no finished data set; run its preparation (again).')
  data = (directory / RECORDS).read_bytes()
  info = tfds.builder_from_directory(directory).info
  return SetInfo(
    name=info.name,
    raters=list(info.metadata['raters']),
    rater_identity=bool(info.metadata['rater_identity']),
    num_classes=int(info.metadata['num_classes']),
    hash=hashlib.sha256(data).hexdigest(),
    records=json.loads(data),
  )
