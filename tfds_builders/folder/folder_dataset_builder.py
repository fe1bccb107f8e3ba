"""Images and the masks of every rater, in the user's own layout or in a published one."""

import collections
import dataclasses
import functools
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from multirater_jax.data.errors import DataError
from tfds_builders import images, parallel, record, sources
from tfds_builders.counts import write as write_counts
from tfds_builders.folder import layout
from tfds_builders.folder.layout import Entry, Found
from tfds_builders.folder.manifest import NAME as MANIFEST
from tfds_builders.folder.manifest import find_manifest
from tfds_builders.folder.published import find_cimd, find_hpunet

LAYOUTS: dict[str, Callable[[pathlib.Path, str], Found]] = {
  'folders': layout.find_folders,
  'manifest': find_manifest,
  'hpunet': find_hpunet,
  'cimd': find_cimd,
}
EMPTY = ('drawn', 'absent')

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Options as described at ``configure``."""

  path: str = dataclasses.field(metadata={'hashed': False})
  layout: str = 'folders'
  num_classes: int = 2
  case_pattern: str = ''
  window: tuple[float, float] | None = None
  rater_identity: bool | None = None
  empty_masks: str = 'drawn'

  def find(self) -> Found:
    """The files of the set."""
    return LAYOUTS[self.layout](pathlib.Path(self.path), self.case_pattern)


def configure(
  manual_dir: str | os.PathLike | None = None,
  *,
  layout: str | None = None,
  num_classes: int = 2,
  case_pattern: str | None = None,
  window: tuple[float, float] | None = None,
  rater_identity: bool | None = None,
  empty_masks: str = 'drawn',
) -> Config:
  """The builder's config.

  Args:
    manual_dir: the folder.
    layout: 'folders' (images/ and one folder a rater), 'manifest' (a table, manifest.csv), 'hpunet'
      or 'cimd' (published slices). Without it 'manifest' where there is one, else 'folders'.
    num_classes: 2: any nonzero mask value is foreground; more: mask values are class indices.
    case_pattern: regular expression searched in the image's stem; its first group (or the whole
      match) names the case. Without it every file is a case.
    window: intensities (low, high) of NIfTI, float and 16-bit images that become 0 and 1.
      Without it NIfTI and float images are scaled by the percentiles 0.5 and 99.5 of each file.
    rater_identity: is rater k the same person on every image? None: true except for published
      slices.
    empty_masks: 'drawn': an empty mask says that nothing is there; 'absent': that the rater did not
      annotate the image.

  Raises:
    DataError: for an unknown value and for files that do not fit the layout.
  """
  if not 2 <= num_classes <= 256:
    raise DataError(f'num_classes is {num_classes}; it lies between 2 and 256.')
  if window is not None and not (len(window) == 2 and window[0] < window[1]):
    raise DataError(f'window is {window}; give two numbers (low, high) with low below high.')
  if empty_masks not in EMPTY:
    raise DataError(f'empty_masks is {empty_masks!r}, not one of {", ".join(EMPTY)}.')
  try:
    re.compile(case_pattern or '')
  except re.error as error:
    raise DataError(f'case_pattern {case_pattern!r} is no regular expression: {error}.') from error
  path = _folder(manual_dir)
  layout = layout or ('manifest' if (path / MANIFEST).is_file() else 'folders')
  if layout not in LAYOUTS:
    raise DataError(f'There is no layout {layout!r}; there are {", ".join(LAYOUTS)}.')
  config = Config(
    name='',
    path=str(path),
    layout=layout,
    num_classes=num_classes,
    case_pattern=case_pattern or '',
    window=None if window is None else (float(window[0]), float(window[1])),
    rater_identity=rater_identity,
    empty_masks=empty_masks,
  )
  return record.named(config, sources.listing(path, _sources(config)))


def _folder(manual_dir: str | os.PathLike | None) -> pathlib.Path:
  return sources.manual_folder(manual_dir, layout.WANTED, layout.ADVICE)


def _sources(config: Config) -> set[pathlib.Path]:
  """Every file that the set depends on."""
  entries = config.find().entries
  files = {file for entry in entries for file in (entry.image, *entry.masks) if file is not None}
  return files | ({pathlib.Path(config.path) / MANIFEST} if config.layout == 'manifest' else set())


class Builder(tfds.core.GeneratorBasedBuilder):
  """One record an image or slice of a volume."""

  VERSION = tfds.core.Version('1.0.0')

  _split_generators = record.only_split

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    found = config.find()
    dtype, channels = layout.storage(entry.image for entry in found.entries)
    identity = found.rater_identity if config.rater_identity is None else config.rater_identity
    options = ('layout', 'num_classes', 'case_pattern', 'window', 'empty_masks')
    return record.info(
      self,
      raters=found.raters,
      rater_identity=identity,
      num_classes=config.num_classes,
      channels=channels,
      dtype=dtype,
      options={key: getattr(config, key) for key in options},
    )

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    found = config.find()
    dtype, _ = layout.storage(entry.image for entry in found.entries)
    counts: collections.Counter[str] = collections.Counter()
    read = functools.partial(_read, found=found._replace(entries=[]), config=config)
    for records, odd in parallel.in_order(read, found.entries, chunk=8):
      counts.update(odd)
      for example in records:
        if not example['annotated'].any():
          counts['images left out that nobody marked'] += 1
          continue
        example['image'] = _as_type(example['image'], dtype)
        yield example['name'], record.encode(**example)
        counts['records'] += 1
    if not counts['records']:
      raise DataError(f'{config.path} gives no record: all masks are empty.')
    for note in (*found.notes, *_warnings(counts)):
      _log.warning(note)
    write_counts(self.data_path, counts)


def _read(
  entry: Entry, *, found: Found, config: Config
) -> tuple[list[dict[str, Any]], collections.Counter[str]]:
  """The records of an image file, and what is to be counted of it."""
  counts: collections.Counter[str] = collections.Counter()
  return list(examples(entry, found, config, counts)), counts


def _warnings(counts: collections.Counter[str]) -> Iterator[str]:
  counted = {name: count for name, count in (+counts).items() if name != 'records'}
  yield from (f'{count} {name}.' for name, count in sorted(counted.items()))


def entries(config: Config) -> Iterator[record.Entry]:
  """Every image by name, with the reader of its records; what is odd goes to the log."""
  found = config.find()
  counts: collections.Counter[str] = collections.Counter()
  for entry in found.entries:
    yield entry.name, functools.partial(examples, entry, found, config, counts)
  for note in (*found.notes, *_warnings(counts)):
    _log.warning(note)


def examples(
  entry: Entry, found: Found, config: Config, counts: collections.Counter[str]
) -> Iterator[dict[str, Any]]:
  """The records of one image file: one, or one a slice of a volume."""
  is_volume = images.suffix(entry.image) in images.NIFTI
  volume = images.read_volume(entry.image) if is_volume else _flat(entry.image, found)
  counts['volumes without orientation in the header (identity geometry)'] += not volume.oriented
  classes = [_mask(mask, entry.image, volume, (found, config, counts)) for mask in entry.masks]
  voxels = volume.voxels
  if is_volume or voxels.dtype == np.float32 or (config.window and voxels.dtype == np.uint16):
    voxels = images.to_unit(voxels, entry.image, config.window)
  for number in range(voxels.shape[2] if is_volume else 1):
    shown = voxels[:, :, number, None] if is_volume else voxels
    masks = [None if mask is None else mask[:, :, number] for mask in classes]
    if config.empty_masks == 'absent':
      masks = [mask if mask is not None and mask.any() else None for mask in masks]
    sliced = is_volume and voxels.shape[2] > 1
    yield {
      'image': shown,
      'masks': np.stack([np.zeros(shown.shape[:2], np.uint8) if m is None else m for m in masks]),
      'annotated': np.array([mask is not None for mask in masks]),
      'case': entry.case,
      'name': f'{entry.name}/slice-{number:04d}' if sliced else entry.name,
      'spacing': volume.spacing,
    }


def _flat(file: pathlib.Path, found: Found) -> images.Volume:
  return images.Volume(images.read_image(file, file), found.spacing)


def _mask(
  file: pathlib.Path | None,
  image_file: pathlib.Path,
  image: images.Volume,
  context: tuple[Found, Config, collections.Counter[str]],
) -> np.ndarray | None:
  """Class indices [h w slice] of one rater's file, which must fit the image's."""
  if file is None:
    return None
  found, config, counts = context
  try:
    if images.suffix(file) in images.NIFTI:
      classes = _mask_volume(file, image_file, image, config.num_classes)
    elif found.lossy:
      flat, changed = images.read_lossy_mask(file, file)
      counts['masks changed by JPEG compression and cut at half'] += changed
      classes = flat[..., None]
    else:
      classes = images.read_mask(file, file, config.num_classes)[..., None]
  except DataError as error:
    raise DataError(f'{error} It is a mask of {image_file}.') from error
  slices = 1 if image.affine is None else image.voxels.shape[2]
  if classes.shape != (*image.voxels.shape[:2], slices):
    raise DataError(
      f'{file} has shape {_shape(classes)} but {image_file} has shape '
      f'{_shape(image.voxels[..., :slices])}.'
    )
  return classes


def _mask_volume(
  file: pathlib.Path, image_file: pathlib.Path, image: images.Volume, num_classes: int
) -> np.ndarray:
  mask = images.read_volume(file)
  if image.affine is not None and not np.allclose(mask.affine, image.affine, atol=1e-3):
    raise DataError(f'{file} and {image_file} have other affine matrices; resample one of them.')
  return images.to_classes(mask.voxels, file, num_classes)


def _shape(array: np.ndarray) -> str:
  return ' x '.join(str(size) for size in array.shape if size > 1 or array.ndim < 3)


def _as_type(image: np.ndarray, dtype: type) -> np.ndarray:
  """8 bit in a 16-bit set: 255 becomes 65535."""
  return image.astype(np.uint16) * 257 if image.dtype == np.uint8 and dtype == np.uint16 else image
