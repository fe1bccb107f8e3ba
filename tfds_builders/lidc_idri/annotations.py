"""Reads an annotation file of LIDC-IDRI: who outlined what on which slice.

What a file holds besides well-formed readings is dropped or kept by these rules, and counted in
``Reading.defects``:

- coordinate: an outline with a missing, not numeric, not integer or absurdly large coordinate is
  dropped. Whether a point lies in the image is checked later, where its size is known.
- inclusion: an outline that says neither TRUE nor FALSE is dropped.
- position: an outline without a finite z position is dropped.
- short outline: one or two distinct points enclose nothing; dropped where the nodule has another
  outline. A nodule that has nothing else is a nodule below 3 mm and becomes a mark.
- open outline: end points that are not neighbors are joined by a straight line.
- long outline: an outline beyond the bound on its length is dropped.
- nodule without outline: nothing of it is left; dropped.
- unrated nodule: outlined, but without (valid) characteristics; kept, they decide nothing.
- rating: a characteristic outside 1 to 6 or not numeric is dropped.
- repeated nodule: a nodule identifier twice in a session; both are kept.
- extra session: a session beyond the usual four; kept.
- mark: a mark below 3 mm or of a non-nodule without a valid place; dropped.
"""

import collections
import hashlib
import math
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Int32

from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri.xml_tree import read_tree

CT = '{http://www.nih.gov}'
READING_ROOT = CT + 'LidcReadMessage'
RADIOGRAPH_ROOT = '{http://www.nih.gov/idri}IdriReadMessage'
SERIES_TAGS = ('SeriesInstanceUid', 'SeriesInstanceUID')
MAX_COORDINATE = 2**15
MAX_LENGTH = 2**16  # pixels along an outline; real ones have some hundred at most
MAX_NODULES = 1000  # outlined in a file; real ones have tens
USUAL_SESSIONS = 4


class Outline(NamedTuple):
  """A closed polygon on one slice; its pixels are the first ones outside of what it encloses."""

  z: float
  sop_uid: str  # of the slice; may be empty
  inclusion: bool  # false: what it encloses is a hole
  points: Int32[np.ndarray, 'n 2']  # row, column


class Annotation(NamedTuple):
  """A nodule of 3 mm or more as one session outlined it."""

  session: int
  name: str
  ratings: tuple[tuple[str, int], ...]
  outlines: tuple[Outline, ...]


class Mark(NamedTuple):
  """One point: a nodule below 3 mm, or something that is no nodule."""

  session: int
  name: str
  small_nodule: bool
  z: float
  sop_uid: str
  row: int
  column: int


class Reading(NamedTuple):
  """All sessions of one annotation file of a CT series."""

  path: pathlib.Path
  series_uid: str
  study_uid: str
  sessions: int
  annotations: tuple[Annotation, ...]
  marks: tuple[Mark, ...]
  defects: Mapping[str, int]
  digest: str  # of what was read, not of the file's text


class Skipped(NamedTuple):
  """A file of another kind."""

  path: pathlib.Path
  reason: str


def read_annotations(path: str | os.PathLike) -> Reading | Skipped:
  """Reads one file; what is no reading of a CT series is ``Skipped``, by its root element.

  Raises:
    DataError: when the file is no well-formed XML or exceeds a bound.
  """
  path = pathlib.Path(path)
  root = read_tree(path)
  if root.tag == RADIOGRAPH_ROOT:
    return Skipped(path, 'radiograph')
  if root.tag != READING_ROOT:
    return Skipped(path, 'other root element')
  series_uid = _header(root, SERIES_TAGS)
  if not series_uid:
    return Skipped(path, 'no series')
  return _reading(root, path, series_uid)


def _reading(root: Element, path: pathlib.Path, series_uid: str) -> Reading:
  defects: collections.Counter[str] = collections.Counter()
  annotations: list[Annotation] = []
  marks: list[Mark] = []
  sessions = root.findall(CT + 'readingSession')
  for number, session in enumerate(sessions):
    names: set[str] = set()
    for element in session.findall(CT + 'unblindedReadNodule'):
      found = _nodule(element, number, defects)
      if isinstance(found, Annotation):
        annotations.append(found)
        defects['repeated nodule'] += found.name in names
        names.add(found.name)
      elif found:
        marks.append(found)
    for element in session.findall(CT + 'nonNodule'):
      marks.extend(_non_nodule(element, number, defects))
  if len(annotations) > MAX_NODULES:
    raise DataError(f'{path} has over {MAX_NODULES} outlined nodules; get the file again.')
  defects['extra session'] += max(0, len(sessions) - USUAL_SESSIONS)
  return Reading(
    path=path,
    series_uid=series_uid,
    study_uid=_header(root, ('StudyInstanceUID', 'StudyInstanceUid')),
    sessions=len(sessions),
    annotations=tuple(annotations),
    marks=tuple(marks),
    defects={key: count for key, count in sorted(defects.items()) if count},
    digest=_digest(len(sessions), annotations, marks),
  )


def _nodule(
  element: Element, session: int, defects: collections.Counter
) -> Annotation | Mark | None:
  name = _text(element, 'noduleID')
  read = [_outline(roi, defects) for roi in element.findall(CT + 'roi')]
  outlines = [outline for outline in read if outline is not None]
  closed = [outline for outline in outlines if len(np.unique(outline.points, axis=0)) > 2]
  if not any(outline.inclusion for outline in closed):
    if not outlines:
      defects['nodule without outline'] += 1
      return None
    first = outlines[0]
    row, column = first.points[0].tolist()
    return Mark(session, name, True, first.z, first.sop_uid, row, column)
  defects['short outline'] += len(outlines) - len(closed)
  defects['open outline'] += sum(_is_open(outline.points) for outline in closed)
  ratings = _ratings(element, defects)
  defects['unrated nodule'] += not ratings
  return Annotation(session, name, ratings, tuple(closed))


def _outline(roi: Element, defects: collections.Counter) -> Outline | None:
  points = [_point(edge) for edge in roi.findall(CT + 'edgeMap')]
  if not points or None in points:
    defects['coordinate'] += 1
    return None
  inclusion = _text(roi, 'inclusion').upper()
  if inclusion not in ('TRUE', 'FALSE'):
    defects['inclusion'] += 1
    return None
  z = _number(_text(roi, 'imageZposition'))
  if z is None:
    defects['position'] += 1
    return None
  array = np.array(points, dtype=np.int32)
  if np.abs(np.diff(array, axis=0, append=array[:1])).sum() > MAX_LENGTH:
    defects['long outline'] += 1
    return None
  array.flags.writeable = False
  return Outline(z, _text(roi, 'imageSOP_UID'), inclusion == 'TRUE', array)


def _non_nodule(element: Element, session: int, defects: collections.Counter) -> list[Mark]:
  locus = element.find(CT + 'locus')
  point = None if locus is None else _point(locus)
  z = _number(_text(element, 'imageZposition'))
  if point is None or z is None:
    defects['mark'] += 1
    return []
  name, sop_uid = _text(element, 'nonNoduleID'), _text(element, 'imageSOP_UID')
  return [Mark(session, name, False, z, sop_uid, *point)]


def _point(element: Element) -> tuple[int, int] | None:
  row = _coordinate(element.findtext(CT + 'yCoord'))
  column = _coordinate(element.findtext(CT + 'xCoord'))
  return None if row is None or column is None else (row, column)


def _coordinate(text: str | None) -> int | None:
  try:
    value = int(text or '')
  except ValueError:
    number = _number(text)
    if number is None or not number.is_integer():
      return None
    value = int(number)
  return value if abs(value) <= MAX_COORDINATE else None


def _number(text: str | None) -> float | None:
  try:
    number = float(text or '')
  except ValueError:
    return None
  return number if math.isfinite(number) else None


def _ratings(element: Element, defects: collections.Counter) -> tuple[tuple[str, int], ...]:
  ratings = []
  for child in element.findall(f'{CT}characteristics/*'):
    number = _number(child.text)
    if number is None or number not in range(1, 7):
      defects['rating'] += 1
    else:
      ratings.append((child.tag.removeprefix(CT), int(number)))
  return tuple(ratings)


def _is_open(points: Int32[np.ndarray, 'n 2']) -> bool:
  return bool(np.abs(points[0] - points[-1]).max() > 1)


def _text(element: Element, tag: str) -> str:
  return (element.findtext(CT + tag) or '').strip()


def _header(root: Element, tags: tuple[str, ...]) -> str:
  texts = [_text(header, tag) for header in root.findall(CT + 'ResponseHeader') for tag in tags]
  return next(filter(None, texts), '')


def _digest(sessions: int, annotations: list[Annotation], marks: list[Mark]) -> str:
  sha = hashlib.sha256(repr((sessions, marks)).encode())
  for annotation in annotations:
    sha.update(repr(annotation[:3]).encode())
    for outline in annotation.outlines:
      sha.update(repr((*outline[:3], outline.points.shape)).encode())
      sha.update(outline.points.tobytes())
  return sha.hexdigest()
