"""Rasterizes outlines: pixels inside, with the outline's own pixels outside."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int

from tfds_builders.lidc_idri.annotations import Outline


def winding(
  points: Int[np.ndarray, 'n 2'], shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
) -> Int[np.ndarray, 'h w']:
  """How often a polygon runs around each pixel of a window whose first pixel is ``origin``.

  Every edge adds its direction to the pixels left of where it crosses their row; a row belongs to
  the edges that pass from below or at it to above it.
  """
  height, width = shape
  start = points - np.asarray(origin)
  end = np.roll(start, -1, axis=0)
  low = np.clip(np.minimum(start, end)[:, 0], 0, height)
  high = np.clip(np.maximum(start, end)[:, 0], 0, height)
  edge = np.repeat(np.arange(len(points)), high - low)
  row = np.arange(len(edge)) - np.repeat(np.cumsum(high - low) - high, high - low)
  step = end[edge] - start[edge]
  # Pixels left of the crossing have a column below it: ceil, in exact integers.
  direction = np.sign(step[:, 0])
  across = (row - start[edge, 0]) * step[:, 1] * direction
  column = start[edge, 1] - (-across // np.abs(step[:, 0]))
  counts = np.zeros((height, width + 1), dtype=np.int32)
  np.add.at(counts, (row, np.clip(column, 0, width)), direction)
  return counts[:, :0:-1].cumsum(axis=1)[:, ::-1]


def fill(
  points: Int[np.ndarray, 'n 2'],
  shape: tuple[int, int],
  origin: tuple[int, int] = (0, 0),
  *,
  include_outline: bool = False,
) -> Bool[np.ndarray, 'h w']:
  """The pixels a polygon encloses by the even-odd rule, without (or with) its own points."""
  mask = winding(points, shape, origin) % 2 == 1
  inside = points - np.asarray(origin)
  inside = inside[((inside >= 0) & (inside < np.asarray(shape))).all(axis=1)]
  mask[inside[:, 0], inside[:, 1]] = include_outline
  return mask


def rasterize(
  outlines: Iterable[Outline],
  shape: tuple[int, int],
  origin: tuple[int, int] = (0, 0),
  *,
  include_outline: bool = False,
) -> Bool[np.ndarray, 'h w']:
  """The mask of one session's outlines on one slice: united, then the holes taken away.

  Outline pixels are the first ones outside of what is outlined: outside of the nodule, and
  outside of a hole, thus part of the nodule around it. ``include_outline`` adds the pixels of the
  nodule's outlines and leaves the holes.

  Source: annotation instructions of LIDC-IDRI (TCIA); Armato et al. 2011, section II.
  """
  mask = np.zeros(shape, dtype=np.bool_)
  holes = np.zeros(shape, dtype=np.bool_)
  for outline in outlines:
    if outline.inclusion:
      mask |= fill(outline.points, shape, origin, include_outline=include_outline)
    else:
      holes |= fill(outline.points, shape, origin)
  return mask & ~holes


def crosses_itself(points: Int[np.ndarray, 'n 2']) -> bool:
  """Does a polygon run around some pixel twice, or around pixels in both directions?"""
  low = points.min(axis=0)
  height, width = (points.max(axis=0) - low + 1).tolist()
  turns = winding(points, (height, width), (int(low[0]), int(low[1])))
  return bool(turns.max() - turns.min() > 1)


def fits(points: Int[np.ndarray, 'n 2'], shape: tuple[int, int]) -> bool:
  """Does an outline lie in the image? It may run one pixel beyond: its pixels are outside."""
  return bool((points >= -1).all() and (points <= np.asarray(shape)).all())
