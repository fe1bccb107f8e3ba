"""Image and mask files as arrays: PNG, JPEG, TIFF and NIfTI, with one clear error each."""

import math
import os
import pathlib
import zlib
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from PIL import Image, UnidentifiedImageError

from multirater_jax.data.errors import DataError

NIFTI = ('.nii', '.nii.gz')
FLAT = ('.png', '.jpg', '.jpeg', '.tif', '.tiff')
SUFFIXES = FLAT + NIFTI
MAX_VOXELS = 2**30  # a damaged header may ask for terabytes

_UNREADABLE = (
  OSError,
  EOFError,
  SyntaxError,
  ValueError,
  zlib.error,
  UnidentifiedImageError,
  Image.DecompressionBombError,
  ImageFileError,
  HeaderDataError,
)


class Volume(NamedTuple):
  """A NIfTI file with voxels [h w slice], or a flat image [h w c] without geometry."""

  voxels: np.ndarray
  spacing: tuple[float, float] | None = None  # mm, row and column
  affine: np.ndarray | None = None


def suffix(path: pathlib.PurePath) -> str:
  """The supported suffix of a file name in lower case, or ''."""
  name = path.name.lower()
  return next((known for known in sorted(SUFFIXES, key=len)[::-1] if name.endswith(known)), '')


def stem(path: pathlib.PurePath) -> str:
  """The file name without its supported suffix, ``.nii.gz`` included."""
  return path.name[: len(path.name) - len(suffix(path))]


def read(function: Callable[[], Any], name: object) -> Any:
  """Calls a reader and turns what it raises on a damaged file into one ``DataError``."""
  try:
    return function()
  except DataError:
    raise
  except _UNREADABLE as error:
    raise DataError(f'Cannot read {name}: {_reason(error)}.') from error


def read_pixels(file: str | os.PathLike | IO[bytes], name: object) -> np.ndarray:
  """A flat image as uint8, uint16 or float32, [h w] gray or [h w 3] color; alpha is dropped."""
  return read(lambda: _pixels(file, name), name)


def _pixels(file: str | os.PathLike | IO[bytes], name: object) -> np.ndarray:
  with Image.open(file) as image:
    if getattr(image, 'n_frames', 1) > 1:
      raise DataError(f'{name} has {image.n_frames} pages; give one image a file, or NIfTI.')
    if image.mode in ('RGBA', 'LA', 'PA', 'CMYK', 'YCbCr'):
      image = image.convert('L' if image.mode == 'LA' else 'RGB')  # noqa: PLW2901
    array = np.asarray(image)
  if array.dtype == np.bool_:
    return array.astype(np.uint8)
  if array.dtype.kind == 'i' and array.min() >= 0 and array.max() < 2**16:
    return array.astype(np.uint16)
  if array.dtype.kind not in 'uf' or array.dtype.itemsize > 4:
    raise DataError(f'{name} has values outside 16 bit; convert it to 8 or 16 bit.')
  return array.astype(array.dtype.newbyteorder('='))


def read_image(file: str | os.PathLike | IO[bytes], name: object) -> np.ndarray:
  """A flat image [h w c] with its stored type; palette images become RGB."""

  def pixels() -> np.ndarray:
    with Image.open(file) as image:
      if image.mode == 'P':
        return np.asarray(image.convert('RGB'))
      if image.mode == '1':
        return np.asarray(image.convert('L'))
    return _pixels(file, name)

  array = read(pixels, name)
  return array if array.ndim == 3 else array[..., None]


def read_volume(path: str | os.PathLike) -> Volume:
  """A NIfTI file of two or three axes as it lies on disk: axis 0 row, 1 column, 2 slice."""
  return read(lambda: _volume(path), path)


def _volume(path: str | os.PathLike) -> Volume:
  image = nibabel.load(path)
  shape = image.shape
  if len(shape) < 2 or any(size != 1 for size in shape[3:]) or min(shape) < 1:
    raise DataError(f'{path} has shape {shape}; two or three axes are needed.')
  if math.prod(shape) > MAX_VOXELS:
    raise DataError(f'{path} has {math.prod(shape)} voxels, more than the limit of {MAX_VOXELS}.')
  voxels = np.asanyarray(image.dataobj)
  if voxels.dtype.kind not in 'iufb':
    raise DataError(f'{path} holds {voxels.dtype} voxels; scalar numbers are needed.')
  zooms = [float(zoom) for zoom in image.header.get_zooms()[:2]]
  known = all(math.isfinite(zoom) and zoom > 0 for zoom in zooms)
  spacing = (zooms[0], zooms[1]) if known else None
  return Volume(voxels.reshape(*shape[:2], -1), spacing, np.asarray(image.affine))


def read_mask(file: str | os.PathLike | IO[bytes], name: object, num_classes: int) -> np.ndarray:
  """A flat mask [h w] as class indices; three equal channels count as gray."""
  array = read_pixels(file, name)
  if array.ndim == 3:
    if (array != array[..., :1]).any():
      raise DataError(f'Mask {name} is a color image; save one class value a pixel.')
    array = array[..., 0]
  return to_classes(array, name, num_classes)


def to_classes(array: np.ndarray, name: object, num_classes: int) -> np.ndarray:
  """Class indices uint8 from the values of a mask.

  Two classes: 0 and any one other value. More: the values are the class indices.

  Raises:
    DataError: for more values than classes and for values that are no class.
  """
  values = np.unique(array)
  if num_classes == 2:
    if len(values) > 2 or (len(values) == 2 and values[0] != 0) or not np.isfinite(values).all():
      raise DataError(
        f'Mask {name} has the values {_listed(values)}; with num_classes=2 it may hold 0 and one '
        'other value (use a lossless format, or set num_classes).'
      )
    return (array != 0).astype(np.uint8)
  if not np.isin(values, np.arange(num_classes)).all():
    raise DataError(
      f'Mask {name} has the values {_listed(values)}; with num_classes={num_classes} only '
      f'0 to {num_classes - 1} are classes.'
    )
  return array.astype(np.uint8)


def _listed(values: np.ndarray) -> str:
  text = ', '.join(f'{value:g}' for value in values[:5])
  return f'{text}, ... ({len(values)} in all)' if len(values) > 5 else text


def _reason(error: Exception) -> str:
  return str(error).strip().rstrip('.') or type(error).__name__
