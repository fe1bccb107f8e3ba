"""Small gray pictures in rows, as one PNG: what a model draws while it trains."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from multirater_jax.report import page

_IMAGES, _OUTPUTS, _GAP = 4, 5, 2  # rows, single outputs in a row, pixels between pictures


def write(
  path: Path,
  image: Float[np.ndarray, 'b h w c'],
  masks: UInt8[np.ndarray, 'b r h w'],
  annotated: Bool[np.ndarray, 'b r'],
  probs: Float[np.ndarray, 'b s h w k'],
) -> None:
  """Writes the first images, a row each: image, mean mask, mean output, then single outputs.

  Classes above background count as foreground.
  """
  buffer = io.BytesIO()
  gray = mosaic(*(part[:_IMAGES] for part in (image, masks, annotated, probs)))
  Image.fromarray(gray).save(buffer, 'png')
  page.replace(path, buffer.getvalue())


def mosaic(
  image: Float[np.ndarray, 'b h w c'],
  masks: UInt8[np.ndarray, 'b r h w'],
  annotated: Bool[np.ndarray, 'b r'],
  probs: Float[np.ndarray, 'b s h w k'],
) -> UInt8[np.ndarray, 'rows columns']:
  """The pictures as one array of gray values."""
  shown = annotated[:, :, None, None]
  votes = ((masks > 0) * shown).sum(1) / np.maximum(shown.sum(1), 1)
  outputs = 1 - probs[..., 0]
  columns = [image.mean(-1), votes, outputs.mean(1), *np.moveaxis(outputs[:, :_OUTPUTS], 1, 0)]
  tiles = np.clip(np.nan_to_num(np.stack(columns, 1)), 0, 1)  # [b columns h w]
  gray = (255 * tiles).round().astype(np.uint8)
  framed = np.pad(gray, ((0, 0), (0, 0), (0, _GAP), (0, _GAP)), constant_values=128)
  rows, across, height, width = framed.shape
  return framed.transpose(0, 2, 1, 3).reshape(rows * height, across * width)
