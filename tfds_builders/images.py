"""Image and mask files as arrays: PNG, JPEG, TIFF and NIfTI, with one clear error each."""

import gzip
import math
import os
import pathlib
import struct
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
FORMATS = ('PNG', 'JPEG', 'TIFF')  # others, by whatever name, never reach their decoders
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 2**26  # of a flat image
MAX_VOXELS = 2**28  # a damaged header may ask for terabytes
MAX_EXTENSION = 2**24  # bytes between the header of a NIfTI file and its voxels
DEFLATE = 1032  # bytes that one byte of a gzip file can stand for, at most

_UNREADABLE = (
  OSError,
  EOFError,
  SyntaxError,
  ValueError,
  ArithmeticError,
  AttributeError,
  LookupError,
  TypeError,
  MemoryError,
  struct.error,
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
  oriented: bool = True  # does the header place the voxels in the patient?


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


def open_flat(file: str | os.PathLike | IO[bytes], name: object) -> Image.Image:
  """A flat image whose header is read and whose pixels are not.

  Raises:
    DataError: for more than ``MAX_PIXELS``.
  """
  image = Image.open(file, formats=FORMATS)
  if math.prod(image.size) > MAX_PIXELS:
    image.close()
    raise DataError(f'{name} has {math.prod(image.size)} pixels; the limit is {MAX_PIXELS}.')
  return image


def _pixels(file: str | os.PathLike | IO[bytes], name: object) -> np.ndarray:
  with open_flat(file, name) as image:
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
    with open_flat(file, name) as image:
      if image.mode == 'P':
        return np.asarray(image.convert('RGB'))
      if image.mode == '1':
        return np.asarray(image.convert('L'))
    return _pixels(file, name)

  array = read(pixels, name)
  return array if array.ndim == 3 else array[..., None]


def read_volume(path: str | os.PathLike) -> Volume:
  """A NIfTI file of two or three axes as it lies on disk: axis 0 row, 1 column, 2 slice."""
  volume = read_nifti(path)
  shape = volume.voxels.shape
  if len(shape) < 2 or any(size != 1 for size in shape[3:]):
    raise DataError(f'{path} has shape {shape}; two or three axes are needed.')
  return volume._replace(voxels=volume.voxels.reshape(*shape[:2], -1))


def read_nifti(path: str | os.PathLike) -> Volume:
  """A NIfTI file with all the axes it has. Nothing is turned or resampled.

  Raises:
    DataError: for a damaged or cut file, more than ``MAX_VOXELS``, voxels that are no numbers, and
      voxel sizes or an affine matrix that are no finite numbers.
  """
  return read(lambda: _nifti(path), path)


def _nifti(path: str | os.PathLike) -> Volume:
  _check_nifti(path)
  image = nibabel.load(path)
  if not isinstance(image, nibabel.Nifti1Image):
    raise DataError(f'{path} is a {type(image).__name__}; a NIfTI image is needed.')
  voxels = np.asanyarray(image.dataobj)
  affine = np.asarray(image.affine)
  if not np.isfinite(affine).all():
    raise DataError(f'{path} has the affine matrix {affine.tolist()}; correct it.')
  zooms = image.header.get_zooms()
  oriented = bool(image.header['qform_code'] or image.header['sform_code'])
  return Volume(voxels, (float(zooms[0]), float(zooms[1])), affine, oriented)


def _check_nifti(path: str | os.PathLike) -> None:
  """Refuses what cannot be or cannot be held, before anything is allocated.

  The header is read as it stands: the library would mend odd fields and go on.
  """
  packed = os.fspath(path).lower().endswith('.gz')
  with gzip.open(path) if packed else open(path, 'rb') as file:
    header = _nifti_header(file, path)
    shape, offset = header.get_data_shape(), float(header['vox_offset'])
    _check_grid(header, shape, path)
    wanted = math.prod(shape) * header.get_data_dtype().itemsize
    held = os.path.getsize(path) * (DEFLATE if packed else 1)
    if not 0 <= offset <= MAX_EXTENSION or wanted + offset > held:
      raise DataError(f'{path} is cut or damaged: it cannot hold the {wanted} bytes of its header.')
    left = int(wanted + offset) + MAX_EXTENSION
    while packed and (block := file.read(2**20)):  # to the end, where the checksum stands
      left -= len(block)
      if left < 0:
        raise DataError(f'{path} unpacks to more than the {wanted} bytes of its header.')


def _nifti_header(file: IO[bytes], path: object) -> nibabel.Nifti1Header:
  start = file.read(nibabel.Nifti2Header.sizeof_hdr)
  sizes = struct.unpack('<i', start[:4]) + struct.unpack('>i', start[:4])
  kinds = (nibabel.Nifti1Header, nibabel.Nifti2Header)
  kind = next((kind for kind in kinds if kind.sizeof_hdr in sizes), None)
  if kind is None or len(start) < kind.sizeof_hdr:
    raise DataError(f'Cannot read {path}: it has no NIfTI header.')
  return kind(start[: kind.sizeof_hdr], check=False)


def _check_grid(header: nibabel.Nifti1Header, shape: tuple[int, ...], path: object) -> None:
  if header.get_data_dtype().kind not in 'iufb':
    raise DataError(f'{path} holds {header.get_data_dtype()} voxels; scalar numbers are needed.')
  if len(shape) < 2 or min(shape) < 1:
    raise DataError(f'{path} has shape {shape}; two or three axes are needed.')
  if math.prod(shape) > MAX_VOXELS:
    raise DataError(f'{path} has {math.prod(shape)} voxels, more than the limit of {MAX_VOXELS}.')
  zooms = [float(zoom) for zoom in header['pixdim'][1 : 1 + min(3, len(shape))]]
  if not np.isfinite(zooms).all() or min(zooms[:2]) <= 0:
    raise DataError(f'{path} has the voxel sizes {zooms}; correct them.')


def read_mask(file: str | os.PathLike | IO[bytes], name: object, num_classes: int) -> np.ndarray:
  """A flat mask [h w] as class indices; three equal channels count as gray."""
  array = read_pixels(file, name)
  if array.ndim == 3:
    if (array != array[..., :1]).any():
      raise DataError(f'Mask {name} is a color image; save one class value a pixel.')
    array = array[..., 0]
  return to_classes(array, name, num_classes)


def read_lossy_mask(file: str | os.PathLike | IO[bytes], name: object) -> tuple[np.ndarray, bool]:
  """A two-class mask [h w] from JPEG: above half of 255 is foreground.

  The second value tells whether compression had changed any pixel.
  """
  array = read_pixels(file, name)
  if array.dtype != np.uint8:
    raise DataError(f'Mask {name} is no 8-bit image.')
  gray = array if array.ndim == 2 else array.mean(axis=2)
  return (gray > 127.5).astype(np.uint8), not np.isin(array, (0, 255)).all()


def to_unit(
  intensities: np.ndarray, name: object, window: tuple[float, float] | None = None
) -> np.ndarray:
  """Intensities clipped to a window and scaled to uint16, 65535 for the window's top.

  Without a window the percentiles 0.5 and 99.5 are its ends.
  """
  if not np.isfinite(intensities).all():
    raise DataError(f'{name} holds values that are not finite; replace them.')
  low, high = window or np.percentile(intensities, [0.5, 99.5])
  unit = (intensities.astype(np.float32) - low) / max(high - low, 1e-6)
  return np.round(np.clip(unit, 0, 1) * 65535).astype(np.uint16)


def to_classes(array: np.ndarray, name: object, num_classes: int) -> np.ndarray:
  """Class indices uint8 from the values of a mask.

  Two classes: 0 and any one other whole number. More: the values are the class indices.

  Raises:
    DataError: for more values than classes and for values that are no class.
  """
  values = np.unique(array)
  if array.dtype.kind == 'f' and (values != np.round(values)).any():
    raise DataError(f'Mask {name} has the values {_listed(values)}, which are no whole numbers.')
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
  return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
