"""A folder of images and one folder of masks for every rater, in the user's own layout."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from multirater_jax.data.errors import DataError
from tfds_builders import images, record, sources
from tfds_builders.folder import layout


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Options as described at ``configure``."""

  path: str = dataclasses.field(metadata={'hashed': False})
  num_classes: int = 2
  case_pattern: str = ''
  window: tuple[float, float] | None = None


def configure(
  manual_dir: str | os.PathLike | None = None,
  *,
  num_classes: int = 2,
  case_pattern: str | None = None,
  window: tuple[float, float] | None = None,
) -> Config:
  """The builder's config.

  ``num_classes`` 2: any nonzero mask value is foreground; more: mask values are class indices.
  ``case_pattern``: regular expression searched in the image's stem; its first group (or the whole
  match) names the case. Without it every file is a case.
  ``window``: intensities (low, high) of NIfTI, float and 16-bit images that become 0 and 1.
  Without it NIfTI and float images are scaled by the percentiles 0.5 and 99.5 of each file.
  """
  if not 2 <= num_classes <= 256:
    raise DataError(f'num_classes is {num_classes}; it lies between 2 and 256.')
  if window is not None and not (len(window) == 2 and window[0] < window[1]):
    raise DataError(f'window is {window}; give two numbers (low, high) with low below high.')
  try:
    re.compile(case_pattern or '')
  except re.error as error:
    raise DataError(f'case_pattern {case_pattern!r} is no regular expression: {error}.') from error
  path = sources.manual_folder(manual_dir, layout.WANTED, layout.ADVICE)
  image_files, mask_files = layout.find_files(path)
  files = [
    *image_files.values(),
    *(file for found in mask_files.values() for file in found.values()),
  ]
  config = Config(
    name='',
    path=str(path),
    num_classes=num_classes,
    case_pattern=case_pattern or '',
    window=None if window is None else (float(window[0]), float(window[1])),
  )
  return record.named(config, sources.listing(path, files))


class Builder(tfds.core.GeneratorBasedBuilder):
  """One record an image or slice of a volume; rater k is the same person on every image."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    image_files, mask_files = layout.find_files(pathlib.Path(config.path))
    dtype, channels = layout.storage(image_files)
    return record.info(
      self,
      raters=[f'rater {name}' if name.isdigit() else name for name in mask_files],
      rater_identity=True,
      num_classes=config.num_classes,
      channels=channels,
      dtype=dtype,
      options={key: getattr(config, key) for key in ('num_classes', 'case_pattern', 'window')},
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    del dl_manager
    return {record.SPLIT: self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    image_files, mask_files = layout.find_files(pathlib.Path(config.path))
    dtype, _ = layout.storage(image_files)
    for stem, file in layout.drawn_images(image_files, mask_files).items():
      masks = [found.get(stem) for found in mask_files.values()]
      for key, example in examples(file, masks, config):
        example['image'] = _as_type(example['image'], dtype)
        example['case'] = layout.case_of(stem, config.case_pattern)
        yield key, record.encode(**example)


def examples(
  file: pathlib.Path, masks: list[pathlib.Path | None], config: Config
) -> Iterator[tuple[str, dict[str, Any]]]:
  """The records of one image file: one, or one a slice of a volume."""
  is_volume = images.suffix(file) in images.NIFTI
  volume = images.read_volume(file) if is_volume else images.Volume(images.read_image(file, file))
  classes = [
    None if mask is None else _mask(mask, file, volume, config.num_classes) for mask in masks
  ]
  voxels = volume.voxels
  if is_volume or voxels.dtype == np.float32 or (config.window and voxels.dtype == np.uint16):
    voxels = to_unit(voxels, file, config.window)
  name = images.stem(file)
  for number in range(voxels.shape[2] if is_volume else 1):
    shown = voxels[:, :, number, None] if is_volume else voxels
    drawn = [None if mask is None else mask[:, :, number] for mask in classes]
    key = f'{name}/slice-{number:04d}' if is_volume and voxels.shape[2] > 1 else name
    yield (
      key,
      {
        'image': shown,
        'masks': np.stack([np.zeros(shown.shape[:2], np.uint8) if m is None else m for m in drawn]),
        'annotated': np.array([mask is not None for mask in drawn]),
        'name': key,
        'spacing': volume.spacing,
      },
    )


def _mask(
  file: pathlib.Path, image_file: pathlib.Path, image: images.Volume, num_classes: int
) -> np.ndarray:
  """Class indices [h w slice] of one rater's file, which must fit the image's."""
  if images.suffix(file) in images.NIFTI:
    mask = images.read_volume(file)
    if image.affine is not None and not np.allclose(mask.affine, image.affine, atol=1e-3):
      raise DataError(f'{file} and {image_file} have other affine matrices; resample one of them.')
    classes = images.to_classes(mask.voxels, file, num_classes)
  else:
    classes = images.read_mask(file, file, num_classes)[..., None]
  slices = 1 if image.affine is None else image.voxels.shape[2]
  if classes.shape != (*image.voxels.shape[:2], slices):
    raise DataError(
      f'{file} has shape {_shape(classes)} but {image_file} has shape '
      f'{_shape(image.voxels[..., :slices])}.'
    )
  return classes


def _shape(array: np.ndarray) -> str:
  return ' x '.join(str(size) for size in array.shape if size > 1 or array.ndim < 3)


def to_unit(
  intensities: np.ndarray, name: object, window: tuple[float, float] | None
) -> np.ndarray:
  """Intensities clipped to a window and scaled to uint16, 65535 for the window's top."""
  if not np.isfinite(intensities).all():
    raise DataError(f'{name} holds values that are not finite; replace them.')
  low, high = window or np.percentile(intensities, [0.5, 99.5])
  unit = (intensities.astype(np.float32) - low) / max(high - low, 1e-6)
  return np.round(np.clip(unit, 0, 1) * 65535).astype(np.uint16)


def _as_type(image: np.ndarray, dtype: type) -> np.ndarray:
  """8 bit in a 16-bit set: 255 becomes 65535."""
  return image.astype(np.uint16) * 257 if image.dtype == np.uint8 and dtype == np.uint16 else image
