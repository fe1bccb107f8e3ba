"""One row of a batch from one decoded record, and batches from rows."""

import numpy as np
from jaxtyping import Float, Shaped

from multirater_jax.data import crops
from multirater_jax.data.source import Record

NumpyBatch = dict[str, np.ndarray]  # the fields of ``method.Batch``; a row has them without axis b


def cut(
  record: Record, row: int, column: int, size: int
) -> tuple[Shaped[np.ndarray, 'c s s'], Shaped[np.ndarray, 'r s s']]:
  """Image (channels first) and masks of the square at (row, column) of the padded record."""
  area = (..., slice(row, row + size), slice(column, column + size))
  image = np.moveaxis(record['image'], -1, 0)
  return crops.pad(image, size)[area], crops.pad(record['masks'], size)[area]


def to_float(image: Shaped[np.ndarray, '...']) -> Float[np.ndarray, '...']:
  """Integer intensities scaled to [0, 1]; float ones as they are."""
  if image.dtype.kind == 'u':
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
  return np.ascontiguousarray(image, dtype=np.float32)


def stack(rows: list[NumpyBatch]) -> NumpyBatch:
  """A batch of the rows."""
  return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
