"""The slices of a scan: read, scaled, resized."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from multirater_jax.data.errors import DataError
from tfds_builders import images
from tfds_builders.npc.hdf5 import read_arrays
from tfds_builders.npc.layout import LABEL, RATERS, SEQUENCES, Scan

PRESETS = ('stored', 'published', 'linear')
INTENSITIES = ('stored', 'percentiles')
TOLERANCE = 1e-3  # rounding beyond 0 and 1


class Arrays(NamedTuple):
  """A scan in memory; the first axis counts slices."""

  image: Float32[np.ndarray, 'd h w c']
  masks: UInt8[np.ndarray, 'r d h w']
  annotated: Bool[np.ndarray, ' r']
  spacing: tuple[float, float] | None


def examples(
  scan: Scan, *, preset: str, size: int | None, intensity: str | None
) -> Iterator[dict[str, Any]]:
  """One record a slice.

  Raises:
    DataError: naming the file, for whatever does not fit.
  """
  arrays = _read_nifti(scan) if scan.images else _read_hdf5(scan)
  default = 'percentiles' if scan.images else 'stored'
  image = _scaled(arrays.image, scan.file, intensity or default)
  one = len(image) == 1
  for number, shown in enumerate(image):
    pixels, masks = resize(shown, arrays.masks[:, number], preset, size)
    yield {
      'image': pixels,
      'masks': masks,
      'annotated': arrays.annotated,
      'case': scan.case,
      'name': scan.name if one else f'{scan.name}/slice-{number:04d}',
      'spacing': _spacing(arrays.spacing, shown.shape[:2], pixels.shape[:2]),
    }


def _read_hdf5(scan: Scan) -> Arrays:
  labels = [LABEL + rater for rater in RATERS]
  arrays = read_arrays(scan.file, [*SEQUENCES, *labels])
  deep = {key: array.reshape(-1, *array.shape[-2:]) for key, array in arrays.items()}
  masks = [images.to_classes(deep[key], f'{scan.file}:{key}', 2) for key in labels]
  image = np.stack([deep[key] for key in SEQUENCES], axis=-1).astype(np.float32)
  return Arrays(image, np.stack(masks), np.ones(len(RATERS), np.bool_), None)


def _read_nifti(scan: Scan) -> Arrays:
  files = [scan.images[key] for key in SEQUENCES]
  volumes = [images.read_volume(file) for file in files]
  first = volumes[0]
  masks = np.zeros((len(RATERS), *first.voxels.shape), np.uint8)
  for file, volume in zip(files[1:], volumes[1:], strict=True):
    _check_grid(file, volume, files[0], first)
  for slot, rater in enumerate(RATERS):
    if rater in scan.masks:
      mask = images.read_volume(scan.masks[rater])
      _check_grid(scan.masks[rater], mask, files[0], first)
      masks[slot] = images.to_classes(mask.voxels, scan.masks[rater], 2)
  image = np.stack([volume.voxels for volume in volumes], axis=-1).astype(np.float32)
  annotated = np.array([rater in scan.masks for rater in RATERS])
  return Arrays(np.moveaxis(image, 2, 0), np.moveaxis(masks, 3, 1), annotated, first.spacing)


def _check_grid(file: object, volume: images.Volume, other: object, first: images.Volume) -> None:
  if volume.voxels.shape != first.voxels.shape:
    shapes = volume.voxels.shape, first.voxels.shape
    raise DataError(f'{file} has shape {shapes[0]} but {other} has shape {shapes[1]}.')
  if not np.allclose(volume.affine, first.affine, atol=1e-3):
    raise DataError(f'{file} and {other} have other affine matrices; resample one of them.')


def _scaled(
  image: Float32[np.ndarray, 'd h w c'], name: object, intensity: str
) -> Float32[np.ndarray, 'd h w c']:
  """Intensities in [0, 1]: as they are stored, or every sequence by its percentiles."""
  if intensity == 'percentiles':
    channels = [images.to_unit(image[..., c], name) for c in range(image.shape[-1])]
    return np.stack(channels, axis=-1).astype(np.float32) / 65535
  low, high = float(image.min()), float(image.max())
  if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
    raise DataError(
      f'{name} has intensities from {low:g} to {high:g}, not 0 to 1; set intensity="percentiles".'
    )
  return np.clip(image, 0, 1)


def resize(
  image: Float32[np.ndarray, 'h w c'],
  masks: UInt8[np.ndarray, 'r h w'],
  preset: str,
  size: int | None,
) -> tuple[Float32[np.ndarray, 'n n c'], UInt8[np.ndarray, 'r n n']]:
  """A square of ``size`` pixels (128 where None).

  'published' takes the nearest pixel for image and masks, with corner pixels on corner pixels, as
  the published codes do; 'linear' interpolates the image without aliasing and takes the nearest
  pixel of the masks; 'stored' changes nothing.
  """
  if preset == 'stored':
    return image, masks
  size = size or 128
  if preset == 'published':
    zoom = size / image.shape[0], size / image.shape[1]
    pixels = scipy.ndimage.zoom(image, (*zoom, 1), order=0)
    return pixels, scipy.ndimage.zoom(masks, (1, *zoom), order=0)
  channels = [_pil(image[..., c], size, Image.Resampling.BILINEAR) for c in range(image.shape[2])]
  drawn = [_pil(mask, size, Image.Resampling.NEAREST) for mask in masks]
  return np.clip(np.stack(channels, axis=-1), 0, 1), np.stack(drawn)


def _pil(plane: np.ndarray, size: int, method: Image.Resampling) -> np.ndarray:
  return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((size, size), method))


def _spacing(
  spacing: tuple[float, float] | None, old: tuple[int, ...], new: tuple[int, ...]
) -> tuple[float, float] | None:
  if spacing is None:
    return None
  return spacing[0] * old[0] / new[0], spacing[1] * old[1] / new[1]
