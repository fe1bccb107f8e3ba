"""Random access to the decoded records of a prepared set, in a chosen order of the raters."""

import os
import pathlib
import threading
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped, UInt8

from multirater_jax.data.errors import DataError
from tfds_builders import record as layout
from tfds_builders import records

_READING = (RuntimeError, ValueError, TypeError, KeyError, OSError)  # damage shows so
ORDERS = ('identity', 'slot', 'area_rank', 'shuffle')


class Record(TypedDict):
  """One decoded record; its arrays are shared and read-only."""

  image: Shaped[np.ndarray, 'h w c']  # as stored: uint8, uint16 or float32
  masks: UInt8[np.ndarray, 'r h w']
  annotated: Bool[np.ndarray, ' r']
  spacing: Float[np.ndarray, ' 2']  # mm, nan unknown
  limits: tuple[float, float]  # stored intensities that become 0 and 1
  foreground: Integer[np.ndarray, ' n']  # flat positions of pixels that any rater marked
  case: int  # position in Source.case_names
  index: int


class Source:
  """The records of a prepared set by number; keeps decoded ones until ``cache_mb`` is full.

  ``rater_order`` says what axis r means:
    identity   rater r is a person; only for sets that know their raters;
    slot       as stored, the slot has no meaning;
    area_rank  rank of the foreground area in the whole record, smallest first, absent raters last;
    shuffle    as stored here; the training stream draws a new order at every visit.
  None takes ``identity`` where the set knows its raters, else ``slot``.

  ``percentiles`` (low, high) of each image become intensities 0 and 1, which evens out exposure;
  None scales integers by the range of their type and takes float images as they are.

  Thread-safe. Raises DataError for an unfinished or damaged set and for an order it cannot give.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    *,
    rater_order: str | None = None,
    percentiles: tuple[float, float] | None = None,
    cache_mb: int = 1024,
  ):
    self.directory = pathlib.Path(directory).resolve()
    self.info = records.read_info(self.directory)
    self.rater_order = _checked_order(rater_order, self.info)
    self.percentiles = percentiles and tuple(percentiles)
    self.raters = rater_names(self.rater_order, self.info.raters)
    self.case_names = sorted(set(self.info.cases))
    self._case_numbers = {name: number for number, name in enumerate(self.case_names)}
    self._cache: dict[int, Record] = {}
    self._room = cache_mb * 2**20
    self._lock = threading.Lock()
    try:
      self._stored = layout.Stored(self.directory)
    except _READING as error:
      raise self._damaged(error) from error
    if len(self._stored) != len(self.info.records):
      raise self._damaged(f'{len(self._stored)} of {len(self.info.records)} records are there')

  def __len__(self) -> int:
    return len(self.info.records)

  def __getitem__(self, index: int) -> Record:
    index = int(index)
    cached = self._cache.get(index)
    if cached is not None:
      return cached
    decoded = self._decode(index)
    size = sum(value.nbytes for value in decoded.values() if isinstance(value, np.ndarray))
    with self._lock:
      if index not in self._cache and size <= self._room:
        self._room -= size
        self._cache[index] = decoded
    return decoded

  def _decode(self, index: int) -> Record:
    try:
      stored = self._stored[index]
    except _READING as error:
      raise self._damaged(f'{self._stored.shard_of(index)}: {_first_line(error)}') from error
    line = self.info.records[index]
    if not records.agrees(stored, line):
      shard = self._stored.shard_of(index)
      raise self._damaged(f'{shard}: record {index} differs from records.json')
    masks, annotated = stored['masks'], stored['annotated']
    if self.rater_order == 'area_rank':
      order = rank_by_area(line['areas'])
      masks, annotated = masks[order], annotated[order]
    case = self._case_numbers[stored['case']]
    decoded = Record(
      image=stored['image'],
      masks=masks,
      annotated=annotated,
      spacing=stored['spacing'],
      limits=limits(stored['image'], self.percentiles),
      foreground=np.flatnonzero(masks.any(axis=0)).astype(np.int32),
      case=case,
      index=index,
    )
    for value in decoded.values():
      if isinstance(value, np.ndarray):
        value.flags.writeable = False
    return decoded

  def _damaged(self, reason: object) -> DataError:
    return DataError(
      f'The prepared data set in {self.directory} is damaged ({_first_line(reason)}); '
      'delete this folder and prepare the set again.'
    )


def _first_line(reason: object) -> str:
  lines = str(reason).splitlines() or [type(reason).__name__]
  return lines[0][:200]


def limits(
  image: Shaped[np.ndarray, 'h w c'], percentiles: tuple[float, float] | None
) -> tuple[float, float]:
  """The stored intensities that become 0 and 1."""
  if percentiles:
    low, high = np.percentile(image, percentiles)
    return float(low), float(high)
  return 0.0, float(np.iinfo(image.dtype).max) if image.dtype.kind == 'u' else 1.0


def rank_by_area(areas: Sequence[int | None]) -> list[int]:
  """Rater numbers by ascending foreground area; raters that did not draw (None) come last."""
  return sorted(range(len(areas)), key=lambda rater: (areas[rater] is None, areas[rater] or 0))


def _checked_order(order: str | None, info: records.SetInfo) -> str:
  if order is None:
    return 'identity' if info.rater_identity else 'slot'
  if order not in ORDERS:
    raise DataError(f'Unknown rater order {order!r}; there are {", ".join(ORDERS)}.')
  if order == 'identity' and not info.rater_identity:
    raise DataError(
      f'The raters of {info.name} are not the same persons on every image, so rater order '
      '"identity" has no meaning; choose slot, area_rank or shuffle.'
    )
  return order


def rater_names(order: str | None, raters: Sequence[str]) -> list[str]:
  """What axis r is called under an order of the raters of a set."""
  if order == 'area_rank':
    return [f'area rank {rank + 1}' for rank in range(len(raters))]
  if order == 'shuffle':
    return [f'drawn {position + 1}' for position in range(len(raters))]
  return list(raters)
