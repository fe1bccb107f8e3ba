"""Nasopharyngeal carcinoma, MMIS-2024: T1, contrast-enhanced T1, T2, and four raters."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from multirater_jax.data.errors import DataError
from tfds_builders import parallel, record, sources
from tfds_builders.npc.layout import ADVICE, RATERS, SEQUENCES, WANTED, Scan, find_scans
from tfds_builders.npc.slices import INTENSITIES, PRESETS, examples

TRAINING = ('slices', 'volumes')


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Options as described at ``configure``."""

  path: str = dataclasses.field(metadata={'hashed': False})
  preset: str = 'stored'
  size: int | None = None
  training: str = 'slices'
  intensity: str | None = None

  def find(self) -> list[Scan]:
    """The scans of the set."""
    return find_scans(pathlib.Path(self.path), self.training)


def configure(
  manual_dir: str | os.PathLike | None = None,
  *,
  preset: str = 'stored',
  size: int | None = None,
  training: str = 'slices',
  intensity: str | None = None,
) -> Config:
  """The builder's config.

  Args:
    manual_dir: the folder that holds ``training_2d``, ``training``, ``validation`` or ``testing``.
    preset: 'stored' keeps the pixels as they are; 'published' resizes to a square by the nearest
      pixel, images too; 'linear' interpolates the images and takes the nearest pixel of masks.
    size: pixels of a side after resizing; None is 128.
    training: 'slices' reads ``training_2d`` and 'volumes' reads ``training`` where both are there.
    intensity: 'stored' (values lie in 0 to 1) or 'percentiles' (0.5 and 99.5 of every sequence of
      a file become 0 and 1). None: 'stored' for HDF5, 'percentiles' for NIfTI.

  Raises:
    DataError: for an unknown value or another layout.
  """
  for name, value, known in (
    ('preset', preset, PRESETS),
    ('training', training, TRAINING),
    ('intensity', intensity, (None, *INTENSITIES)),
  ):
    if value not in known:
      raise DataError(f'{name} is {value!r}, not one of {", ".join(map(str, known))}.')
  if size is not None and (preset == 'stored' or not 8 <= size <= 4096):
    raise DataError(f'size is {size}; it lies between 8 and 4096, with preset published or linear.')
  path = sources.manual_folder(manual_dir, WANTED, ADVICE)
  config = Config(
    name='', path=str(path), preset=preset, size=size, training=training, intensity=intensity
  )
  files = {file for scan in config.find() for file in _files(scan)}
  return record.named(config, sources.listing(path, files))


def _files(scan: Scan) -> list[pathlib.Path]:
  return [*scan.images.values(), *scan.masks.values()] if scan.images else [scan.file]


class Builder(tfds.core.GeneratorBasedBuilder):
  """One record a slice, one case a patient; rater k is the same person everywhere."""

  VERSION = tfds.core.Version('1.0.0')

  _split_generators = record.only_split

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    return record.info(
      self,
      raters=list(RATERS),
      rater_identity=True,
      num_classes=2,
      channels=len(SEQUENCES),
      dtype=np.float32,
      channel_names=list(SEQUENCES),
      geometry='HDF5 files hold no affine matrix: identity geometry, spacing unknown.',
      options={key: getattr(config, key) for key in ('preset', 'size', 'training', 'intensity')},
    )

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    for found in parallel.read(entries(self.builder_config)):
      for example in found:
        yield example['name'], record.encode(**example)


def entries(config: Config) -> Iterator[record.Entry]:
  """Every scan by name, with the reader of its records."""
  style = {'preset': config.preset, 'size': config.size, 'intensity': config.intensity}
  for scan in config.find():
    yield scan.name, functools.partial(examples, scan, **style)
