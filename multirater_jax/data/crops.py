"""Cutting records to the training size: where a crop starts, what lies beyond the border.

Positions are (row, column) of the first pixel in the record after padding to at least the size.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from multirater_jax.data.source import Record

Shape = tuple[int, int]


def pad(array: Shaped[np.ndarray, '... h w'], size: int) -> Shaped[np.ndarray, '... H W']:
  """Mirrors the last two axes at their ends to at least ``size``, evenly on both sides."""
  widths = [(0, 0)] * (array.ndim - 2) + [_sides(length, size) for length in array.shape[-2:]]
  return np.pad(array, widths, mode='reflect') if any(sum(width) for width in widths) else array


def _sides(length: int, size: int) -> tuple[int, int]:
  missing = max(0, size - length)
  return missing // 2, missing - missing // 2


def near_center(rng: np.random.Generator, record: Record, size: int, *, jitter: int) -> Shape:
  """A crop around the center, moved by up to ``jitter`` pixels: for sets of centered findings."""
  return tuple(
    min(max((length - size) // 2 + int(shift), 0), max(0, length - size))
    for length, shift in zip(
      record['masks'].shape[1:], rng.integers(-jitter, jitter + 1, 2), strict=True
    )
  )


def anywhere(
  rng: np.random.Generator, record: Record, size: int, *, foreground_probability: float
) -> Shape:
  """A uniform crop or, with the given probability, one that holds a random foreground pixel."""
  shape = record['masks'].shape[1:]
  marked = record['foreground']
  if len(marked) and rng.random() < foreground_probability:
    pixel = np.unravel_index(marked[rng.integers(len(marked))], shape)
    lows = [max(0, at - size + 1) for at in pixel]
    highs = [min(at, max(0, length - size)) for at, length in zip(pixel, shape, strict=True)]
  else:
    lows, highs = [0, 0], [max(0, length - size) for length in shape]
  return tuple(
    int(rng.integers(min(low, high), high + 1)) for low, high in zip(lows, highs, strict=True)
  )


class Span(NamedTuple):
  """A tile along one axis: it covers [start, start + size) and owns [begin, end)."""

  start: int
  begin: int
  end: int


def center_span(length: int, size: int) -> list[Span]:
  """The one span in the middle; it owns what lies inside the record."""
  start = (max(length, size) - size) // 2
  before, _ = _sides(length, size)
  return [Span(start, max(start, before), min(start + size, before + length))]


def tile_spans(length: int, size: int, margin: int) -> list[Span]:
  """Spans that own every pixel of the axis once; at inner edges ``margin`` pixels only surround.

  Positions count from the first pixel after padding (``pad``), as everywhere here. The last span
  is moved back to end at the border.
  """
  if length <= size:
    return center_span(length, size)
  spans = []
  end = 0
  while end < length:
    start = min(max(0, end - margin), length - size)
    last = start + size == length
    spans.append(Span(start, end, length if last else start + size - margin))
    end = spans[-1].end
  return spans
