"""Checks of a source of data before it is prepared: what is unreadable, missing, double or odd."""

import collections
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from multirater_jax.data.errors import DataError
from multirater_jax.progress import follow
from tfds_builders import notes
from tfds_builders.record import Entry

FINE, NOTE, FINDING, BROKEN = 'fine', 'note', 'FINDING', 'BROKEN'
FULL = 0.9  # of the image: such a mask is likely inverted
OUTLIER = 10  # times the median area of the other raters, or that part of it
COPIES = 0.2, 3  # share and number of images on which two raters may draw the same mask


class Finding(NamedTuple):
  """The result of one check."""

  check: str
  level: str  # FINE; NOTE: look at it; FINDING: most likely wrong; BROKEN: preparation will stop
  count: int
  examples: list[str]


class _Check(NamedTuple):
  level: str
  text: str


CHECKS = {
  'unreadable': _Check(BROKEN, 'files that cannot be read or do not fit'),
  'layout': _Check(BROKEN, 'places where the layout does not fit'),
  'double in cases': _Check(FINDING, 'one image in two cases (a leak between parts of a split)'),
  'double': _Check(NOTE, 'one image twice in a case'),
  'constant': _Check(FINDING, 'images of one value'),
  'unmarked': _Check(NOTE, 'images nobody marked'),
  'silent': _Check(FINDING, 'raters whose masks are all empty'),
  'copied': _Check(FINDING, 'raters who often draw the very same mask'),
  'full': _Check(FINDING, f'masks over {FULL:.0%} of an image where others mark less (inverted?)'),
  'outlier': _Check(NOTE, f'masks {OUTLIER} times larger or smaller than the other raters’'),
  'border': _Check(NOTE, 'masks that touch the border of the image'),
  'absent': _Check(NOTE, 'raters who did not draw on every image'),
  'spacing': _Check(NOTE, 'images of unknown pixel size'),
  'cases': _Check(
    NOTE, 'every image is its own case; are there several of one patient? (option case_pattern)'
  ),
  'notes': _Check(NOTE, 'what the reader says'),
}


class Report(NamedTuple):
  """All findings, and what was read."""

  findings: list[Finding]
  records: int
  cases: int

  @property
  def status(self) -> int:
    """0 fine, 1 findings, 2 preparation would stop."""
    if not self.records or any(f.level == BROKEN and f.count for f in self.findings):
      return 2
    return int(any(f.level == FINDING and f.count for f in self.findings))


def check(entries: Iterable[Entry], *, strict: bool = True, layout: Sequence[str] = ()) -> Report:
  """Reads everything once and goes on after what is broken.

  ``strict`` says that preparation would stop at a broken file; ``layout`` is the list in which the
  faults of the layout are ``collected``, looked at when all is read.
  """
  seen = _Seen()
  with notes.heard(lambda text, broken: seen.found('unreadable' if broken else 'notes', text)):
    try:
      for name, read in follow(entries, 'entries'):
        seen.read(name, read)
    except DataError as error:
      seen.found('unreadable', str(error))
  seen.finish()
  seen.by['layout'] = list(dict.fromkeys(layout))  # it may have been looked for more than once
  levels = {key: one.level for key, one in CHECKS.items()}
  if not strict:
    levels['unreadable'] = FINDING
  return Report(
    [
      Finding(one.text, levels[key] if seen.by[key] else FINE, len(seen.by[key]), seen.by[key])
      for key, one in CHECKS.items()
    ],
    seen.records,
    len(seen.cases),
  )


class _Seen:
  """What is kept of the records that went by, and the findings so far."""

  def __init__(self):
    self.by: dict[str, list[str]] = collections.defaultdict(list)
    self.records = 0
    self.cases: set[str] = set()
    self._images: dict[bytes, tuple[str, str]] = {}  # digest -> case and name
    # Numbers of images, arrays from the first record on: those each rater drew on and left marks
    # on, those each two raters both marked and marked alike.
    self._drawn: Any = 0
    self._marked: Any = 0
    self._both: Any = 0
    self._same: Any = 0

  def found(self, key: str, text: str) -> None:
    """Adds a finding."""
    self.by[key].append(text)

  def read(self, name: str, read: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
    """Reads the records of an entry; what breaks becomes a finding."""
    try:
      for record in read():
        self.add(record)
    except DataError as error:
      self.found('unreadable', str(error))
    except MemoryError:
      self.found('unreadable', f'{name} does not fit into memory.')

  def add(self, record: Mapping[str, Any]) -> None:
    """Checks one record."""
    self.records += 1
    self.cases.add(record['case'])
    self._check_image(record)
    masks = np.asarray(record['masks']) > 0
    self._check_masks(record['name'], masks, np.asarray(record['annotated'], np.bool_))
    spacing = record.get('spacing')
    if spacing is None or not np.isfinite(spacing).all():
      self.found('spacing', record['name'])

  def _check_image(self, record: Mapping[str, Any]) -> None:
    image, name, case = np.ascontiguousarray(record['image']), record['name'], record['case']
    if image.min() == image.max():
      self.found('constant', name)
      return
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    first_case, first = self._images.setdefault(digest, (case, name))
    if first != name:
      self.found('double' if first_case == case else 'double in cases', f'{first} = {name}')

  def _check_masks(self, name: str, masks: np.ndarray, annotated: np.ndarray) -> None:
    areas = masks.sum(axis=(1, 2)) * annotated
    marked = areas > 0
    self._drawn = self._drawn + annotated
    self._marked = self._marked + marked
    if not marked.any():
      self.found('unmarked', name)
    flat = masks.reshape(len(masks), -1)[:, masks.any(axis=0).ravel()].astype(np.float32)
    both = marked[:, None] & marked
    shared = flat @ flat.T
    self._both = self._both + both
    self._same = self._same + (both & (shared == areas[:, None]) & (shared == areas))
    border = [masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]]
    touches = np.any([side.any(axis=1) for side in border], axis=0) & marked
    size = masks[0].size
    for rater in np.flatnonzero(marked):
      where = f'{name}, rater {rater + 1}'
      if touches[rater]:
        self.found('border', where)
      others = np.delete(areas, rater)[np.delete(marked, rater)]
      if len(others):
        self._compare(where, areas[rater] / size, float(np.median(others)) / size)

  def _compare(self, where: str, area: float, others: float) -> None:
    """A mask's share of the image against the others' median."""
    if area > FULL and others < 1 - FULL:
      self.found('full', where)
    elif not 1 / OUTLIER <= area / others <= OUTLIER:
      self.found('outlier', f'{where} ({area / others:.2g} times)')

  def finish(self) -> None:
    """Checks that need all records."""
    if not self.records:
      return
    names = [f'rater {number + 1}' for number in range(len(self._drawn))]
    for rater, name in enumerate(names):
      if self._drawn[rater] and not self._marked[rater]:
        self.found('silent', name)
      elif self._drawn[rater] < self.records:
        self.found('absent', f'{name}: {self._drawn[rater]} of {self.records}')
    share, least = COPIES
    for one, other in zip(*np.triu_indices(len(names), 1), strict=True):
      same, both = self._same[one, other], self._both[one, other]
      if same >= least and same > share * both:
        self.found('copied', f'{names[one]} and {names[other]}: {same} of {both} images')
    if len(self.by['spacing']) == self.records:
      self.by['spacing'] = ['all images']
    if len(self.cases) == self.records > 1:
      self.found('cases', f'{self.records} images')
