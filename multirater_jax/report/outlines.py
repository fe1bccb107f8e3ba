"""Outlines of regions along pixel borders."""

import numpy as np
from jaxtyping import Bool


def polygons(region: Bool[np.ndarray, 'h w']) -> list:
  """Closed outlines along pixel borders, as lists of (x, y) corners, holes included.

  Every border edge is directed with the region on its right, so each corner has as many edges
  that arrive as edges that leave, and following them always closes.
  """
  leaving: dict = {}
  padded = np.pad(region, 1)
  core = padded[1:-1, 1:-1]
  sides = (
    (padded[:-2, 1:-1], (0, 0), (1, 0)),
    (padded[1:-1, 2:], (1, 0), (1, 1)),
    (padded[2:, 1:-1], (1, 1), (0, 1)),
    (padded[1:-1, :-2], (0, 1), (0, 0)),
  )
  for neighbor, start, end in sides:
    for y, x in zip(*(axis.tolist() for axis in np.nonzero(core & ~neighbor)), strict=True):
      leaving.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
  loops = []
  while leaving:
    loops.append(_corners(_follow(leaving)))
  return loops


def _follow(leaving: dict) -> list:
  start = point = next(iter(leaving))
  loop = []
  while True:
    loop.append(point)
    ends = leaving[point]
    following = ends.pop()
    if not ends:
      del leaving[point]
    point = following
    if point == start:
      return loop


def _corners(loop: list) -> list:
  """A loop without the points on straight lines."""
  around = zip(loop[-1:] + loop[:-1], loop, loop[1:] + loop[:1], strict=True)
  return [here for before, here, after in around if not _straight(before, after)]


def _straight(before: tuple, after: tuple) -> bool:
  return before[0] == after[0] or before[1] == after[1]
