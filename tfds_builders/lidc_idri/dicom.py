"""Reads one DICOM file: header first, pixels in Hounsfield units on demand."""

import math
import os
import pathlib
import warnings
from typing import Any, NamedTuple

import numpy as np
import pydicom
from jaxtyping import Float32
from pydicom import uid
from pydicom.filereader import read_file_meta_info

from multirater_jax.data.errors import DataError

MAX_PIXELS = 2**26
MAX_BYTES = 2**28  # of a file
# Neither compressed nor deflated: the size in memory is the size on disk.
TRANSFER_SYNTAXES = (
  uid.ImplicitVRLittleEndian,
  uid.ExplicitVRLittleEndian,
  uid.ExplicitVRBigEndian,
)
TAGS = [
  'SOPInstanceUID', 'SeriesInstanceUID', 'StudyInstanceUID', 'PatientID', 'Modality',
  'InstanceNumber', 'Rows', 'Columns', 'SamplesPerPixel', 'NumberOfFrames', 'BitsAllocated',
  'PhotometricInterpretation', 'PixelSpacing', 'ImagePositionPatient', 'ImageOrientationPatient',
  'GantryDetectorTilt', 'RescaleSlope', 'RescaleIntercept',
]  # fmt: skip
PIXEL_TAGS = [
  'Rows', 'Columns', 'SamplesPerPixel', 'NumberOfFrames', 'BitsAllocated', 'BitsStored', 'HighBit',
  'PixelRepresentation', 'PhotometricInterpretation', 'PixelData',
]  # fmt: skip


class Header(NamedTuple):
  """What identifies an image file, and what its dataset says about the geometry, as text."""

  path: pathlib.Path
  sop_uid: str
  series_uid: str
  study_uid: str
  patient: str
  modality: str
  instance: float  # inf where the file gives none
  values: tuple[tuple[str, tuple[str, ...]], ...]  # every other tag, not interpreted yet
  syntax: str


class Geometry(NamedTuple):
  """A checked axial slice; HU = slope * stored value + intercept."""

  shape: tuple[int, int]
  spacing: tuple[float, float]  # between rows, between columns
  position: tuple[float, float, float]  # x, y, z of the first pixel
  slope: float
  intercept: float


def is_dicom(path: str | os.PathLike) -> bool:
  """Does the file carry DICOM's mark after its preamble?"""
  with open(path, 'rb') as file:
    return file.read(132)[128:] == b'DICM'


def read_header(path: str | os.PathLike) -> Header:
  """The identity of a DICOM file and its raw geometry, without its pixels.

  Raises:
    DataError: when the file is no DICOM file, is deflated or too large, or its header is broken
      or ends before it names the series and the modality.
  """
  path = pathlib.Path(path)
  if not is_dicom(path):
    raise DataError(f'{path} is no DICOM file; remove it or download it again.')
  if path.stat().st_size > MAX_BYTES:
    raise DataError(f'{path} has over {MAX_BYTES} bytes; a CT slice is smaller.')
  meta, data = _parse(path, stop_before_pixels=True, specific_tags=TAGS)
  identity = ('SOPInstanceUID', 'SeriesInstanceUID', 'StudyInstanceUID', 'PatientID', 'Modality')
  instance = _floats(_texts(data, 'InstanceNumber'))
  header = Header(
    path,
    *(''.join(_texts(data, tag)[:1]).strip() for tag in identity),
    instance=instance[0] if len(instance) == 1 and math.isfinite(instance[0]) else math.inf,
    values=tuple((tag, _texts(data, tag)) for tag in TAGS[6:]),
    syntax=str(meta.get('TransferSyntaxUID', '')),
  )
  # pydicom takes a file that ends anywhere between two tags for a short one.
  is_index = meta.get('MediaStorageSOPClassUID') == uid.MediaStorageDirectoryStorage
  if not (header.series_uid and header.modality) and not is_index:
    raise DataError(
      f'{path} names no series or modality, as a file that was cut off; download it again.'
    )
  return header


def _parse(path: pathlib.Path, **options: Any) -> tuple[pydicom.Dataset, pydicom.Dataset]:
  """The file's own group, and the dataset."""
  # The file's own group tells the transfer syntax before anything could be inflated.
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      meta = read_file_meta_info(path)
      if meta.get('TransferSyntaxUID') == uid.DeflatedExplicitVRLittleEndian:
        raise DataError(f'{path} is deflated; save it uncompressed, for example with gdcmconv -w.')
      data = pydicom.dcmread(path, **options)
      list(data)  # decodes the values, so that broken ones show here
  except (DataError, FileNotFoundError):
    raise
  except Exception as error:  # pydicom lets many kinds of errors of broken files through
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise DataError(f'{path} has a broken header ({reason}); download it again.') from error
  return meta, data


def _texts(data: pydicom.Dataset, tag: str) -> tuple[str, ...]:
  value = data.get(tag)
  if value is None or value == '':
    return ()
  is_list = isinstance(value, pydicom.multival.MultiValue | list | tuple)
  return tuple(map(str, value)) if is_list else (str(value),)


def _floats(texts: tuple[str, ...]) -> tuple[float, ...]:
  try:
    return tuple(float(text) for text in texts)
  except ValueError:
    return (math.nan,)


def geometry(header: Header) -> Geometry:
  """The checked geometry of a CT slice.

  Raises:
    DataError: when the file is compressed, has several frames or colors, is not axial, or a tag of
      its geometry is missing, not finite or absurd.
  """
  values = dict(header.values)
  _check_storage(header, values)
  rows, columns = (int(_number(header, values, tag)) for tag in ('Rows', 'Columns'))
  if not 0 < rows * columns <= MAX_PIXELS:
    raise DataError(
      f'{header.path} claims {rows} x {columns} pixels; at most {MAX_PIXELS} are read.'
    )
  spacing = _numbers(header, values, 'PixelSpacing', 2)
  if not all(1e-3 < length < 1e3 for length in spacing):
    raise DataError(f'{header.path}: PixelSpacing is {spacing} mm; download the file again.')
  _check_axial(header, values)
  slope = _number(header, values, 'RescaleSlope', required=header.modality == 'CT', default=1.0)
  return Geometry(
    shape=(rows, columns),
    spacing=spacing,
    position=_numbers(header, values, 'ImagePositionPatient', 3),
    slope=slope,
    intercept=_number(
      header, values, 'RescaleIntercept', required=header.modality == 'CT', default=0.0
    ),
  )


def _check_storage(header: Header, values: dict[str, tuple[str, ...]]) -> None:
  if header.syntax not in TRANSFER_SYNTAXES:
    name = (
      uid.UID(header.syntax, pydicom.config.IGNORE).name if header.syntax else 'no transfer syntax'
    )
    raise DataError(f'{header.path} is stored as {name}; save it uncompressed (gdcmconv -w).')
  photometric = ''.join(values['PhotometricInterpretation'])
  if photometric != 'MONOCHROME2':
    raise DataError(
      f'{header.path} is {photometric or "of unknown color"}; CT slices are MONOCHROME2, take the '
      'original series.'
    )
  frames = _number(header, values, 'NumberOfFrames', required=False, default=1.0)
  samples = _number(header, values, 'SamplesPerPixel', required=False, default=1.0)
  if frames != 1 or samples != 1:
    raise DataError(
      f'{header.path} holds {frames:g} frames of {samples:g} samples a pixel; split it into single '
      'gray slices.'
    )


def _check_axial(header: Header, values: dict[str, tuple[str, ...]]) -> None:
  orientation = _numbers(header, values, 'ImageOrientationPatient', 6)
  if np.abs(np.subtract(orientation, (1, 0, 0, 0, 1, 0))).max() > 1e-3:
    raise DataError(
      f'{header.path} is not axial (ImageOrientationPatient {orientation}); only axial slices are '
      'read.'
    )
  tilt = _number(header, values, 'GantryDetectorTilt', required=False, default=0.0)
  if abs(tilt) > 0.1:
    raise DataError(f'{header.path} has a gantry tilt of {tilt:g} degrees; resample the series.')


def _numbers(
  header: Header, values: dict[str, tuple[str, ...]], tag: str, count: int
) -> tuple[float, ...]:
  numbers = _floats(values[tag])
  if len(numbers) != count or not all(map(math.isfinite, numbers)):
    found = ' '.join(values[tag])[:60] or 'missing'
    raise DataError(f'{header.path}: {tag} is {found}; download the file again.')
  return numbers


def _number(
  header: Header,
  values: dict[str, tuple[str, ...]],
  tag: str,
  *,
  required: bool = True,
  default: float = 0.0,
) -> float:
  if not required and not values[tag]:
    return default
  return _numbers(header, values, tag, 1)[0]


def read_hounsfield(header: Header) -> Float32[np.ndarray, 'h w']:
  """The pixels of a slice in Hounsfield units.

  Raises:
    DataError: when the header does not pass ``geometry`` or the pixels are cut off or of another
      number than it says.
  """
  size = geometry(header)
  bits = int(_number(header, dict(header.values), 'BitsAllocated'))
  if bits not in (8, 16, 32):
    raise DataError(f'{header.path} has {bits} bits a pixel; 8, 16 or 32 are read.')
  expected = math.prod(size.shape) * bits // 8
  if header.path.stat().st_size < expected:
    raise DataError(f'{header.path} is truncated; download it again.')
  data = _parse(header.path, specific_tags=PIXEL_TAGS)[1]
  stored = len(data.get('PixelData') or b'')
  if stored != expected + expected % 2:
    what = 'is truncated: it' if stored < expected else 'contradicts itself: it'
    raise DataError(
      f'{header.path} {what} holds {stored} bytes of pixels for {size.shape[0]} x {size.shape[1]} '
      f'of {bits} bits; download it again.'
    )
  try:
    pixels = data.pixel_array
  except Exception as error:  # as many kinds as codecs
    raise DataError(f'{header.path} has unreadable pixels ({error}); download it again.') from error
  if pixels.shape != size.shape:
    raise DataError(f'{header.path} holds pixels of shape {pixels.shape} instead of {size.shape}.')
  return pixels.astype(np.float32) * np.float32(size.slope) + np.float32(size.intercept)
