"""The one record layout that every builder writes and the input pipeline reads."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2
from zlib_ng import zlib_ng  # unpacks masks ten times, images a third faster than zlib

from multirater_jax.data.errors import DataError

SPLIT = 'records'  # the only one: train, validation and test are drawn by case at run time
IMAGE_DTYPES = (np.uint8, np.uint16, np.float32)

Config = TypeVar('Config', bound=tfds.core.BuilderConfig)
# The name of an image, volume or scan and what reads its records, as keywords of ``encode``.
Entry = tuple[str, Callable[[], Iterable[dict[str, Any]]]]


def features(
  num_raters: int, *, channels: int | None = None, dtype: type = np.uint8
) -> tfds.features.FeaturesDict:
  """The features of a record; ``channels`` None allows gray and color images in one set."""
  return tfds.features.FeaturesDict(
    {
      'image': tfds.features.Tensor(shape=(None, None, channels), dtype=dtype, encoding='zlib'),
      'masks': tfds.features.Tensor(
        shape=(num_raters, None, None), dtype=np.uint8, encoding='zlib'
      ),
      'annotated': tfds.features.Tensor(shape=(num_raters,), dtype=np.bool_),
      'case': tfds.features.Text(),
      'name': tfds.features.Text(),
      'spacing': tfds.features.Tensor(shape=(2,), dtype=np.float32),
    }
  )


def info(
  builder: tfds.core.DatasetBuilder,
  *,
  raters: list[str],
  rater_identity: bool,
  num_classes: int,
  channels: int | None = None,
  dtype: type = np.uint8,
  **metadata: Any,
) -> tfds.core.DatasetInfo:
  """The ``DatasetInfo`` of a builder, with README and citation from the builder's folder.

  ``rater_identity`` is true where rater k is the same person on every image. Further keywords
  (JSON values) are kept in the metadata.
  """
  return builder.dataset_info_from_configs(
    features=features(len(raters), channels=channels, dtype=dtype),
    metadata=tfds.core.MetadataDict(
      raters=list(raters), rater_identity=rater_identity, num_classes=num_classes, **metadata
    ),
  )


def only_split(
  builder: tfds.core.GeneratorBasedBuilder, dl_manager: tfds.download.DownloadManager
) -> dict[str, Any]:
  """The ``_split_generators`` of every builder: all records in the one split."""
  del dl_manager
  return {SPLIT: builder._generate_examples()}


def encode(
  *,
  image: np.ndarray,
  masks: np.ndarray,
  annotated: np.ndarray,
  case: str,
  name: str,
  spacing: tuple[float, float] | None = None,
) -> dict[str, Any]:
  """One record: image [h w c], masks [r h w] of class indices, spacing in mm (row, column).

  The mask of a rater that did not draw is stored as zeros. ``name`` is unique within the set.

  Raises:
    DataError: when the shapes or the type of the image do not fit.
  """
  if image.ndim != 3 or masks.ndim != 3 or image.shape[:2] != masks.shape[1:]:
    raise DataError(
      f'Record {name}: an image [h w c] of shape {image.shape} does not fit masks [r h w] of '
      f'shape {masks.shape}.'
    )
  if image.dtype not in IMAGE_DTYPES:
    raise DataError(f'Record {name}: image type {image.dtype} is not uint8, uint16 or float32.')
  annotated = np.asarray(annotated, dtype=np.bool_)
  return {
    'image': np.ascontiguousarray(image),
    'masks': np.where(annotated[:, None, None], masks, 0).astype(np.uint8),
    'annotated': annotated,
    'case': case,
    'name': name,
    'spacing': np.asarray((np.nan, np.nan) if spacing is None else spacing, dtype=np.float32),
  }


class Stored:
  """The records of a prepared set by number, as ``encode`` gave them; safe in threads.

  Reads what TFDS would, in half its time: it knows the one layout, TFDS finds out for each record.
  """

  def __init__(self, directory: str | os.PathLike):
    builder = tfds.builder_from_directory(directory)
    self._shards = builder.info.splits[SPLIT]
    for path in map(pathlib.Path, self._shards.filepaths):
      if not path.is_file() or not path.stat().st_size:
        raise ValueError(f'{path.name} is empty or missing')
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    self._raw = builder.as_data_source(split=SPLIT, deserialize_method=raw)
    self._dtype = builder.info.features['image'].np_dtype

  def shard_of(self, index: int) -> str:
    """The name of the file that holds a record."""
    number = np.searchsorted(np.cumsum(self._shards.shard_lengths), index, side='right')
    return pathlib.Path(self._shards.filepaths[number]).name

  def __len__(self) -> int:
    return len(self._raw)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """A record whose arrays are read-only; raises ValueError where it is damaged."""
    try:
      found = tf_example_pb2.Example.FromString(self._raw[index]).features.feature
      return {
        'image': _unpack(found, 'image', self._dtype),
        'masks': _unpack(found, 'masks', np.uint8),
        'annotated': np.array(found['annotated'].int64_list.value, np.bool_),
        'case': found['case'].bytes_list.value[0].decode(),
        'name': found['name'].bytes_list.value[0].decode(),
        'spacing': np.array(found['spacing'].float_list.value, np.float32),
      }
    except (DecodeError, IndexError, zlib_ng.error, OverflowError, MemoryError) as error:
      raise ValueError(f'record {index} cannot be decoded: {error}') from error


def _unpack(found: Any, key: str, dtype: type) -> np.ndarray:
  shape = tuple(found[f'{key}/shape'].int64_list.value)
  size = math.prod(shape) * np.dtype(dtype).itemsize
  # A buffer of the right size from the start: zlib else grows it by copying.
  content = zlib_ng.decompress(found[f'{key}/value'].bytes_list.value[0], bufsize=max(size, 1))
  return np.frombuffer(content, dtype).reshape(shape)


def named(config: Config, source: str = '') -> Config:
  """The config under a name made from its options and the ``source`` it reads.

  The name is a folder of the prepared set, so other options or another source never reuse it.
  ``source`` is any text that changes with the input files, for example a listing.
  """
  inherited = {field.name for field in dataclasses.fields(tfds.core.BuilderConfig)}
  options = {
    field.name: getattr(config, field.name)
    for field in dataclasses.fields(config)
    if field.name not in inherited and field.metadata.get('hashed', True)
  }
  text = json.dumps([options, source], sort_keys=True, default=str)
  return dataclasses.replace(config, name=hashlib.sha256(text.encode()).hexdigest()[:16])
