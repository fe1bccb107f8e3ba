"""Which outlines of the sessions mean the same nodule.

LIDC-IDRI does not say it: its sessions name nodules each in its own way. The rule here: two
annotations are linked where their outlines come within a tolerance of each other in millimeters
(outline points at pixel centers, z of the slice); a nodule is a connected component of the links.
A component with more annotations than the file has sessions is cut again with a tolerance 10 %
smaller, down to a tenth of the first. What is still larger then stays one nodule, in which the
outlines of one session are united: a nodule never has more raters than the file has sessions.

The rule follows pylidc, whose distances count voxels and whose tolerance counts millimeters.
"""

from collections.abc import Sequence

import numpy as np
import scipy.spatial
from jaxtyping import Float
from scipy.sparse import csgraph

SHRINK = 0.9
FLOOR = 0.1  # of the first tolerance

Points = Float[np.ndarray, 'n 3']  # z, row, column in mm


def cluster(
  annotations: Sequence[Points],
  *,
  tolerance: float,
  limit: int,
  fixed: Sequence[Sequence[int]] = (),
) -> list[list[int]]:
  """Groups of indices of annotations, ordered by lowest z.

  ``limit`` is the number of sessions, ``fixed`` are groups decided by hand: they are taken as they
  are and their members take no part in the rule.
  """
  taken = {index for group in fixed for index in group}
  free = [index for index in range(len(annotations)) if index not in taken]
  near = distances([annotations[index] for index in free], tolerance)
  groups = [[free[index] for index in group] for group in _components(near, tolerance, limit)]
  groups += [sorted(group) for group in fixed]
  return sorted(groups, key=lambda group: _place([annotations[index] for index in group]))


def distances(annotations: Sequence[Points], bound: float) -> Float[np.ndarray, 'a a']:
  """Smallest distance between the points of every two annotations; infinite above ``bound``."""
  near = np.full((len(annotations), len(annotations)), np.inf)
  if not annotations:
    return near
  np.fill_diagonal(near, 0.0)
  low = np.stack([points.min(axis=0) for points in annotations])
  high = np.stack([points.max(axis=0) for points in annotations])
  trees: dict[int, scipy.spatial.cKDTree] = {}
  for first in range(len(annotations)):
    gap = np.maximum(low - high[first], low[first] - high).clip(min=0.0)
    for second in np.flatnonzero(np.linalg.norm(gap, axis=1) <= bound):
      if second > first:
        if first not in trees:
          trees[first] = scipy.spatial.cKDTree(annotations[first])
        found = trees[first].query(annotations[second], distance_upper_bound=bound * (1 + 1e-9))
        near[first, second] = near[second, first] = found[0].min()
  return near


def _components(near: Float[np.ndarray, 'a a'], tolerance: float, limit: int) -> list[list[int]]:
  done: list[list[int]] = []
  waiting = [(list(range(len(near))), tolerance)]
  while waiting:
    members, reach = waiting.pop()
    links = near[np.ix_(members, members)] <= reach * (1 + 1e-9)
    labels = csgraph.connected_components(links, directed=False)[1]
    for label in range(labels.max(initial=-1) + 1):
      group = [members[index] for index in np.flatnonzero(labels == label)]
      if len(group) > limit and reach * SHRINK >= tolerance * FLOOR:
        waiting.append((group, reach * SHRINK))
      else:
        done.append(group)
  return done


def _place(annotations: Sequence[Points]) -> tuple[float, ...]:
  return tuple(np.concatenate(annotations).min(axis=0).tolist())
