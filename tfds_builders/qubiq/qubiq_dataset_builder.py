"""QUBIQ: brain growth, brain tumor, kidney, prostate and pancreas, two to seven raters each."""

import collections
import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from multirater_jax.data.errors import DataError
from tfds_builders import counts, images, parallel, record, sources
from tfds_builders.qubiq.layout import ADVICE, TASKS, WANTED, Entry, Task, find_entries

GEOMETRIES = ('strict', 'shape')

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Options as described at ``configure``."""

  path: str = dataclasses.field(metadata={'hashed': False})
  task: str
  geometry: str = 'strict'

  def find(self) -> list[Entry]:
    """The cases of the task."""
    return find_entries(pathlib.Path(self.path), TASKS[self.task])


def configure(
  manual_dir: str | os.PathLike | None = None,
  *,
  task: str = 'brain-growth',
  geometry: str = 'strict',
) -> Config:
  """The builder's config.

  Args:
    manual_dir: any folder above the data sets of the challenge.
    task: one of ``layout.TASKS``, for example 'prostate-2'.
    geometry: 'strict' refuses a mask whose affine matrix is not that of its image; 'shape' trusts
      the grid of pixels and asks for equal shapes only.

  Raises:
    DataError: for an unknown value or another layout.
  """
  if task not in TASKS:
    raise DataError(f'There is no task {task!r}; there are {", ".join(TASKS)}.')
  if geometry not in GEOMETRIES:
    raise DataError(f'geometry is {geometry!r}, not one of {", ".join(GEOMETRIES)}.')
  path = sources.manual_folder(manual_dir, WANTED, ADVICE)
  config = Config(name='', path=str(path), task=task, geometry=geometry)
  files = {file for entry in config.find() for file in (entry.image, *entry.masks.values())}
  return record.named(config, sources.listing(path, files))


class Builder(tfds.core.GeneratorBasedBuilder):
  """One record a slice, raters in slots without identity."""

  VERSION = tfds.core.Version('1.0.0')

  _split_generators = record.only_split

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    return record.info(
      self,
      raters=[f'slot {number}' for number in _slots(config.find())],
      rater_identity=False,
      num_classes=2,
      channels=TASKS[config.task].channels,
      dtype=np.uint16,
      options={'task': config.task, 'geometry': config.geometry},
    )

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    raters = [len(entry.masks) for entry in config.find()]
    counted = collections.Counter(
      {
        'cases': sum(map(bool, raters)),
        'cases without a mask, left out': raters.count(0),
        'cases that not every rater marked': sum(
          0 < n < len(self.info.metadata['raters']) for n in raters
        ),
      }
    )
    for found in parallel.read(entries(config)):
      for example in found:
        yield example['name'], record.encode(**example)
        counted['records'] += 1
    counts.write(self.data_path, counted)


def _compare(name: str, cases: int, raters: int) -> None:
  task = TASKS[name]
  if task.cases and (cases, raters) != (task.cases, task.raters):
    _log.warning(
      '%s: %d cases of %d raters found; published are %d of %d.',
      *(name, cases, raters, task.cases, task.raters),
    )


def entries(config: Config) -> Iterator[record.Entry]:
  """Every case by name, with the reader of its records; what is odd goes to the log."""
  task, found = TASKS[config.task], config.find()
  slots, marked = _slots(found), [entry for entry in found if entry.masks]
  for entry in marked:
    yield entry.name, functools.partial(examples, entry, task, slots, config.geometry)
  if len(marked) < len(found):
    _log.warning('%d cases without a mask are left out.', len(found) - len(marked))
  _compare(config.task, len(marked), len(slots))


def _slots(entries: list[Entry]) -> list[int]:
  return sorted(set().union(*(entry.masks for entry in entries)))


def examples(entry: Entry, task: Task, slots: list[int], geometry: str) -> Iterator[dict[str, Any]]:
  """One record a slice; nearly all images have one."""
  image = _image(entry.image, task)
  grid = image.voxels.shape[:3]
  masks = np.zeros((len(slots), *grid), np.uint8)
  for slot, number in enumerate(slots):
    if number in entry.masks:
      masks[slot] = _mask(entry.masks[number], entry.image, image, (task, geometry))
  for number in range(grid[2]):
    yield {
      'image': image.voxels[:, :, number],
      'masks': masks[:, :, :, number],
      'annotated': np.array([slot in entry.masks for slot in slots]),
      'case': entry.case,
      'name': entry.name if grid[2] == 1 else f'{entry.name}/slice-{number:04d}',
      'spacing': image.spacing,
    }


def _image(file: pathlib.Path, task: Task) -> images.Volume:
  """Voxels [h w slice c] as uint16, every channel scaled by its percentiles."""
  volume = images.read_nifti(file)
  channels = task.channels
  shape = (*volume.voxels.shape, 1, 1)[:4] if volume.voxels.ndim < 4 else volume.voxels.shape
  if channels > 1 and shape[2:] == (channels, 1):  # sequences on the third axis
    shape = (*shape[:2], 1, channels)
  if len(shape) != 4 or shape[3] != channels:
    raise DataError(f'{file} has shape {volume.voxels.shape}; {channels} channels are needed.')
  voxels = _slices_last(volume.voxels.reshape(shape), task)
  planes = [images.to_unit(voxels[..., channel], file) for channel in range(channels)]
  lengths = np.linalg.norm(volume.affine[:3, :3], axis=0)
  row, column = (axis for axis in range(3) if axis != _axis(shape, task))
  spacing = float(lengths[row]), float(lengths[column])
  return volume._replace(voxels=np.stack(planes, axis=-1), spacing=spacing)


def _slices_last(voxels: np.ndarray, task: Task) -> np.ndarray:
  return np.moveaxis(voxels, _axis(voxels.shape, task), 2)


def _axis(shape: tuple[int, ...], task: Task) -> int:
  """The axis that counts slices; a single slice is the last one whatever the task."""
  return 2 if shape[2] == 1 else task.slice_axis


def _mask(
  file: pathlib.Path, image_file: pathlib.Path, image: images.Volume, context: tuple[Task, str]
) -> np.ndarray:
  task, geometry = context
  mask = images.read_volume(file)
  voxels = _slices_last(mask.voxels, task)
  if voxels.shape != image.voxels.shape[:3]:
    shapes = voxels.shape, image.voxels.shape[:3]
    raise DataError(f'{file} has shape {shapes[0]} but {image_file} has shape {shapes[1]}.')
  if geometry == 'strict' and not np.allclose(mask.affine, image.affine, atol=1e-3):
    raise DataError(
      f'{file} and {image_file} have other affine matrices; set geometry="shape" where the pixels '
      'are known to correspond.'
    )
  return images.to_classes(voxels, file, 2)
