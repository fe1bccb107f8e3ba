"""Evaluation batches: every record exactly once, its middle or all of it in tiles."""

import functools
import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Integer

from multirater_jax.data import crops, rows
from multirater_jax.data.errors import DataError
from multirater_jax.data.rows import NumpyBatch
from multirater_jax.data.source import Source

PADDING = -1  # case and index of a row that only fills the last batch

Tile = tuple[int, crops.Span, crops.Span]  # record, spans along rows and along columns


def eval_batches(
  source: Source,
  records: Integer[np.ndarray, ' n'],
  *,
  batch_size: int,
  size: int,
  crop: str,
  margin: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[NumpyBatch]:
  """Every record exactly once over all processes, cut to ``size``, in batches of one shape.

  ``crop`` is ``center`` (the middle only) or ``tile`` (as many tiles as cover the record).
  ``valid`` marks the pixels a row is scored on: none beyond the record's border, none twice. With
  a ``margin`` tiles overlap and their inner edges only give context. All tiles of a record go to
  one process. Rows that only fill a batch have no rater, no valid pixel, case and index -1. All
  processes yield the same number of batches.
  """
  mine = records[process_index::process_count]
  filled = (
    _row(source, tile, size)
    for tile in list_tiles(source, mine, size=size, crop=crop, margin=margin)
  )
  empty = None
  for _ in range(
    num_eval_batches(
      source,
      records,
      batch_size=batch_size,
      size=size,
      crop=crop,
      margin=margin,
      process_count=process_count,
    )
  ):
    batch = list(itertools.islice(filled, batch_size))
    if len(batch) < batch_size:
      empty = empty or _empty_row(source, int(records[0]), size)
      batch += [empty] * (batch_size - len(batch))
    yield rows.stack(batch)


def num_eval_batches(
  source: Source,
  records: Integer[np.ndarray, ' n'],
  *,
  batch_size: int,
  size: int,
  crop: str,
  margin: int = 0,
  process_count: int = 1,
) -> int:
  """Batches that every process takes from ``eval_batches``: those of the fullest process."""
  counts = [
    len(list_tiles(source, records[process::process_count], size=size, crop=crop, margin=margin))
    for process in range(process_count)
  ]
  return -(-max(counts) // batch_size)


def list_tiles(
  source: Source, records: Integer[np.ndarray, ' n'], *, size: int, crop: str, margin: int = 0
) -> list[Tile]:
  """The tiles of the records, in their order."""
  if crop not in ('center', 'tile'):
    raise DataError(f'Unknown evaluation crop {crop!r}; there are center, tile.')
  if not 0 <= 2 * margin < size:
    raise DataError(f'A margin of {margin} leaves nothing of tiles of size {size}.')
  tiled = functools.partial(crops.tile_spans, margin=margin)
  spans = crops.center_span if crop == 'center' else tiled
  return [
    (int(index), down, across)
    for index in records
    for down in spans(source.info.records[index]['size'][0], size)
    for across in spans(source.info.records[index]['size'][1], size)
  ]


def _row(source: Source, tile: Tile, size: int) -> NumpyBatch:
  index, down, across = tile
  record = source[index]
  image, masks = rows.cut(record, down.start, across.start, size)
  return {
    'image': rows.to_float(np.moveaxis(image, 0, -1), record['limits']),
    'masks': masks,
    'annotated': record['annotated'],
    'case': np.int32(record['case']),
    'index': np.int32(index),
    'corner': np.array([down.start, across.start], np.int32),
    'valid': np.logical_and.outer(_owned(down, size), _owned(across, size)),
  }


def _owned(span: crops.Span, size: int) -> Bool[np.ndarray, ' s']:
  positions = np.arange(span.start, span.start + size)
  return (span.begin <= positions) & (positions < span.end)


def _empty_row(source: Source, index: int, size: int) -> NumpyBatch:
  """A row of the right shapes that counts nowhere."""
  pattern = _row(source, (index, crops.Span(0, 0, 0), crops.Span(0, 0, 0)), size)
  marks = {'case': np.int32(PADDING), 'index': np.int32(PADDING)}
  return {key: np.zeros_like(value) for key, value in pattern.items()} | marks
