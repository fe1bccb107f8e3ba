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


def to_float(
  image: Shaped[np.ndarray, '...'], limits: tuple[float, float]
) -> Float[np.ndarray, '...']:
  """Stored intensities scaled so that ``limits`` become 0 and 1, clipped there."""
  low, high = (np.float32(limit) for limit in limits)
  scaled = (image.astype(np.float32) - low) / max(high - low, np.finfo(np.float32).tiny)
  return np.clip(scaled, 0, 1, out=scaled)


def stack(rows: list[NumpyBatch]) -> NumpyBatch:
  """A batch of the rows."""
  return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
