"""The nodules of a scan: annotations placed on its slices and grouped."""

import collections
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from tfds_builders.lidc_idri.annotations import Annotation, Outline, Reading
from tfds_builders.lidc_idri.clustering import cluster
from tfds_builders.lidc_idri.outlines import crosses_itself, fits, rasterize
from tfds_builders.lidc_idri.overrides import fixed_groups
from tfds_builders.lidc_idri.series import Series, find_slice

Placed = Mapping[int, tuple[Outline, ...]]  # by number of the slice


class Nodule(NamedTuple):
  """What one or more sessions outlined at one place; a session may have several annotations."""

  sessions: tuple[int, ...]  # of every annotation, ascending
  placed: tuple[Placed, ...]  # the annotations, each with at least one outline

  @property
  def raters(self) -> list[int]:
    """The sessions that outlined it, each once, ascending."""
    return sorted(set(self.sessions))

  @property
  def slices(self) -> list[int]:
    """The slices on which someone outlined it, ascending."""
    return sorted({number for outlines in self.placed for number in outlines})

  @property
  def center(self) -> tuple[float, float]:
    """Mean outline point (row, column) of the first annotation that covers most slices."""
    longest = max(self.placed, key=len)
    points = np.concatenate([one.points for outlines in longest.values() for one in outlines])
    row, column = points.mean(axis=0).tolist()
    return row, column

  def outlined(self, session: int, number: int) -> tuple[Outline, ...]:
    """The outlines of a session on a slice."""
    pairs = zip(self.sessions, self.placed, strict=True)
    return tuple(one for owner, held in pairs if owner == session for one in held.get(number, ()))

  def mask(
    self,
    session: int,
    number: int,
    *,
    shape: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
    include_outline: bool = False,
  ) -> Bool[np.ndarray, 'h w']:
    """What a session enclosed on a slice, in a window of it."""
    mask = np.zeros(shape, dtype=np.bool_)
    for owner, held in zip(self.sessions, self.placed, strict=True):
      if owner == session and number in held:
        mask |= rasterize(held[number], shape, origin, include_outline=include_outline)
    return mask


def find_nodules(
  reading: Reading,
  series: Series,
  *,
  tolerance: float | None = None,
  groups: Sequence[Sequence[str]] = (),
) -> tuple[list[Nodule], collections.Counter[str]]:
  """The nodules of a scan, from lowest to highest, and what was dropped or odd on the way.

  ``tolerance`` in mm, see ``clustering``; None takes the distance of the slices. Dropped are
  outlines whose slice is not in the series, and those that leave the image by more than the one
  pixel by which an outline may.

  Raises:
    DataError: when ``groups`` do not fit the reading.
  """
  counts: collections.Counter[str] = collections.Counter(reading.defects)
  fixed = fixed_groups(groups, reading.annotations, reading.path.name)
  placed = [_place(annotation, series, counts) for annotation in reading.annotations]
  kept = [index for index, outlines in enumerate(placed) if outlines]
  counts['annotation without slice'] += len(placed) - len(kept)
  found = cluster(
    [_millimeters(placed[index], series) for index in kept],
    tolerance=series.thickness if tolerance is None else tolerance,
    limit=reading.sessions,
    fixed=[[kept.index(index) for index in group if index in kept] for group in fixed],
  )
  nodules = []
  for group in filter(None, found):
    members = sorted((kept[index] for index in group), key=lambda i: reading.annotations[i].session)
    sessions = tuple(reading.annotations[index].session for index in members)
    nodules.append(Nodule(sessions, tuple(placed[index] for index in members)))
    counts['nodule with a session twice'] += len(set(sessions)) < len(sessions)
  return nodules, +counts


def _place(annotation: Annotation, series: Series, counts: collections.Counter) -> Placed:
  placed: dict[int, list[Outline]] = collections.defaultdict(list)
  for outline in annotation.outlines:
    number = find_slice(series, outline.z, outline.sop_uid)
    if number is None:
      counts['outline without slice'] += 1
      continue
    item = series.slices[number]
    if not fits(outline.points, item.geometry.shape):
      counts['outline outside the image'] += 1
      continue
    counts['self-crossing outline'] += crosses_itself(outline.points)
    counts['position of another slice'] += abs(item.z - outline.z) > max(series.thickness / 2, 1e-3)
    placed[number].append(outline)
  if not any(outline.inclusion for outlines in placed.values() for outline in outlines):
    return {}
  return {number: tuple(outlines) for number, outlines in sorted(placed.items())}


def _millimeters(placed: Placed, series: Series) -> np.ndarray:
  parts = [
    np.column_stack(
      [np.full(len(outline.points), series.slices[number].z), outline.points * series.spacing]
    )
    for number, outlines in placed.items()
    for outline in outlines
  ]
  return np.concatenate(parts)
