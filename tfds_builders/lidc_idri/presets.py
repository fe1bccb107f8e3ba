"""Named ways to turn a scan into records, and the gray values they use."""

from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Float32, UInt8, UInt16

# Hounsfield units shown as 0 and 1; None: the smallest and largest value of the record itself.
WINDOWS: dict[str, tuple[float, float] | None] = {
  'lung': (-1000.0, 400.0),
  'mediastinum': (-160.0, 240.0),
  'own': None,
}
AIR = -1000.0  # HU beyond the image


class Preset(NamedTuple):
  """How a record is cut.

  ``presence`` says when a slot of a record counts as annotated: its session outlined this slice
  ('slice'), this nodule on any slice ('nodule'), or read the scan at all ('scan'); the mask of an
  annotated slot may then be empty.
  """

  size: int | None  # pixels of a side; None: the whole slice
  spacing: float | None  # mm of a pixel; None: as scanned
  window: str
  presence: str
  min_raters: int  # slots that outlined the slice, at least


PRESETS = {
  'native128': Preset(size=128, spacing=None, window='own', presence='nodule', min_raters=1),
  'kohl': Preset(size=180, spacing=0.5, window='lung', presence='scan', min_raters=1),
  'volume': Preset(size=None, spacing=None, window='lung', presence='scan', min_raters=0),
}
PRESENCES = ('slice', 'nodule', 'scan')


def to_gray(
  hounsfield: Float[np.ndarray, 'h w'], window: tuple[float, float] | None, bits: int = 8
) -> UInt8[np.ndarray, 'h w'] | UInt16[np.ndarray, 'h w']:
  """Hounsfield units to integers 0 to 2^bits - 1, truncated toward zero.

  gray = floor((2^bits - 1) clip((x - low) / (high - low), 0, 1)); a constant image without a
  window becomes 0.
  """
  low, high = window or (float(hounsfield.min()), float(hounsfield.max()))
  top = 2**bits - 1
  scaled = (hounsfield.astype(np.float64) - low) * top / max(high - low, 1e-6)
  return np.clip(scaled, 0, top).astype(np.uint8 if bits == 8 else np.uint16)


def native_origin(
  center: tuple[float, float], size: int, shape: tuple[int, int]
) -> tuple[int, int]:
  """First pixel of a crop around ``center``, moved inside the image.

  The largest origin is one pixel short of what would fit: so are the crops of the public set.
  """
  row, column = (
    min(max(int(np.floor(middle)) - size // 2, 0), max(length - size - 1, 0))
    for middle, length in zip(center, shape, strict=True)
  )
  return row, column


def crop(image: Float32[np.ndarray, 'h w'], origin: tuple[int, int], size: int) -> np.ndarray:
  """A square of pixels as they are; beyond an image smaller than it lies air."""
  part = image[origin[0] : origin[0] + size, origin[1] : origin[1] + size]
  missing = [(0, size - length) for length in part.shape]
  return np.pad(part, missing, constant_values=AIR)


def resample(
  image: Float32[np.ndarray, 'h w'] | Bool[np.ndarray, 'h w'],
  center: tuple[float, float],
  ratio: tuple[float, float],
  size: int,
) -> np.ndarray:
  """A square around ``center`` with ``ratio`` input pixels a pixel.

  An image is interpolated linearly and continued by air, a mask takes its nearest pixel.
  """
  is_mask = image.dtype == np.bool_
  offset = [middle - (size - 1) / 2 * step for middle, step in zip(center, ratio, strict=True)]
  result = scipy.ndimage.affine_transform(
    image.astype(np.uint8) if is_mask else image,
    np.asarray(ratio),
    offset=offset,
    output_shape=(size, size),
    order=0 if is_mask else 1,
    mode='constant',
    cval=0 if is_mask else AIR,
  )
  return result.astype(np.bool_) if is_mask else result
