"""Arrays of an HDF5 file that somebody else wrote: checked before a byte of them is read."""

import math
import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from multirater_jax.data.errors import DataError
from tfds_builders.images import MAX_VOXELS

MAX_CHUNK = 2**28  # bytes of one compressed block
MAX_BYTES = 2**31  # of all arrays of a file together
GZIP, SHUFFLE, CHECKSUM = 1, 2, 3  # filter numbers of the format
_ALLOWED = {GZIP, SHUFFLE, CHECKSUM}
_READING = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError)


def read_arrays(path: str | os.PathLike, keys: Sequence[str]) -> dict[str, np.ndarray]:
  """The arrays under ``keys``, all of one shape, two or three axes.

  Raises:
    DataError: for a damaged file, a missing key, other shapes, no numbers, more than
      ``MAX_VOXELS``, and for everything that leads out of the file or cannot be bounded: links,
      external and virtual storage, filters other than gzip and shuffle, blocks that unpack to
      more than they say.
  """
  import h5py

  try:
    with h5py.File(path, 'r', locking=False) as file:
      missing = [key for key in keys if key not in file.keys()]  # noqa: SIM118 follows no link
      if missing:
        found = ', '.join(list(file.keys())[:12]) or 'nothing'
        raise DataError(f'{path} lacks {", ".join(missing)}; it holds {found}.')
      datasets = {key: _dataset(file, key, path) for key in keys}
      _check_shapes({key: dataset.shape for key, dataset in datasets.items()}, path)
      total = sum(dataset.size * dataset.dtype.itemsize for dataset in datasets.values())
      if total > MAX_BYTES:
        raise DataError(f'{path} holds {total} bytes; the limit is {MAX_BYTES}.')
      for key, dataset in datasets.items():
        _check_blocks(dataset, f'{path}:{key}')
      return {key: np.asarray(dataset[()]) for key, dataset in datasets.items()}
  except DataError:
    raise
  except _READING as error:
    reason = str(error).strip().rstrip('.') or type(error).__name__
    raise DataError(f'Cannot read {path}: {reason}.') from error


def _dataset(file: Any, key: str, path: object) -> Any:
  """The dataset itself, which must lie in this file."""
  import h5py

  link = file.get(key, getlink=True)
  if not isinstance(link, h5py.HardLink):
    raise DataError(f'{path}: {key} is a {type(link).__name__}; links are not followed.')
  dataset = file[key]
  if not isinstance(dataset, h5py.Dataset):
    raise DataError(f'{path}: {key} is a {type(dataset).__name__}; a dataset is needed.')
  if dataset.external or dataset.is_virtual:
    raise DataError(f'{path}: the values of {key} lie in another file, which is not followed.')
  if dataset.dtype.kind not in 'iufb':
    raise DataError(f'{path}: {key} holds {dataset.dtype}; scalar numbers are needed.')
  return dataset


def _check_shapes(shapes: dict[str, Any], path: object) -> None:
  first, shape = next(iter(shapes.items()))
  for key, other in shapes.items():
    if other != shape:
      raise DataError(f'{path}: {key} has shape {other} but {first} has shape {shape}.')
  if shape is None or len(shape) not in (2, 3) or min(shape) < 1:
    raise DataError(f'{path}: {first} has shape {shape}; two or three axes are needed.')
  if math.prod(shape) > MAX_VOXELS:
    raise DataError(f'{path} has {math.prod(shape)} voxels; the limit is {MAX_VOXELS}.')


def _check_blocks(dataset: Any, name: str) -> None:
  """Unpacks every block within its own size, since the library would follow it to any size."""
  properties = dataset.id.get_create_plist()
  filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
  if not set(filters) <= _ALLOWED:
    raise DataError(f'{name} uses the filters {filters}; rewrite it with gzip.')
  if dataset.chunks is None:
    return
  size = math.prod(dataset.chunks) * dataset.dtype.itemsize
  if size > MAX_CHUNK:
    raise DataError(f'{name} has blocks of {size} bytes; the limit is {MAX_CHUNK}.')
  if GZIP not in filters:
    return
  for number in range(dataset.id.get_num_chunks()):
    info = dataset.id.get_chunk_info(number)
    if info.filter_mask or info.size > 2 * size + 1024:
      raise DataError(f'{name} has a damaged block at {info.chunk_offset}.')
    _, packed = dataset.id.read_direct_chunk(info.chunk_offset)
    if CHECKSUM in filters[filters.index(GZIP) :]:
      packed = packed[:-4]
    unpacker = zlib.decompressobj()
    room = size + 4 * filters.count(CHECKSUM)
    try:
      unpacked = unpacker.decompress(packed, room + 1)
    except zlib.error as error:
      raise DataError(f'{name} has a damaged block at {info.chunk_offset}: {error}.') from error
    if len(unpacked) > room:
      raise DataError(f'{name} has a block that unpacks to more than its {size} bytes.')
