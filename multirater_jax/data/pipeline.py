"""The host's part of the input: read, crop or tile, flip, batch; cheap work in threads.

Batches are dicts of NumPy arrays with the fields of ``method.Batch``. Every draw depends on the
seed and the position in the stream only, never on threads or on how many processes share it.
"""

import functools
import hashlib
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grain
import numpy as np
from jaxtyping import Integer, Shaped

from multirater_jax.data import crops, rows
from multirater_jax.data.errors import DataError
from multirater_jax.data.rows import NumpyBatch
from multirater_jax.data.source import Record, Source
from multirater_jax.data.tiles import eval_batches, num_eval_batches

__all__ = ['TrainStream', 'eval_batches', 'num_eval_batches', 'prefetch', 'train_stream']

Placed = TypeVar('Placed')


class TrainStream:
  """An endless iterator of training batches with a position that fits in JSON."""

  def __init__(self, dataset: grain.MapDataset, signature: str, num_threads: int):
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads)
    self._iterator = iter(dataset.to_iter_dataset(options))
    self._signature = signature

  def __iter__(self) -> Iterator[NumpyBatch]:
    return self

  def __next__(self) -> NumpyBatch:
    return next(self._iterator)

  def get_state(self) -> dict[str, Any]:
    """The position after the last batch taken, whatever was read ahead."""
    return {'signature': self._signature, 'position': self._iterator.get_state()}

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues from a saved position.

    Raises:
      DataError: when the position belongs to a stream of other data or options. The number of
        processes may differ, as long as their batches together have as many rows.
    """
    if state.get('signature') != self._signature:
      raise DataError(
        'The saved position belongs to another data stream (other records, seed, batch size or '
        'crop); resume with the former settings or start a new run.'
      )
    self._iterator.set_state(state['position'])

  def close(self) -> None:
    """Ends the reading threads."""
    self._iterator.close()


class Passes:
  """The record numbers of endless passes, every pass in its own order, by position.

  Grain's own shuffle draws one number at a time, which takes milliseconds in sets of a few dozen.
  """

  def __init__(self, records: Integer[np.ndarray, ' n'], seed: int):
    self._records = np.array(records)
    self._order = functools.lru_cache(maxsize=4)(
      lambda number: np.random.default_rng((seed, number)).permutation(self._records)
    )

  def __len__(self) -> int:
    return 2**62

  def __getitem__(self, position: int) -> int:
    number, place = divmod(position, len(self._records))
    return int(self._order(number)[place])


def train_stream(
  source: Source,
  records: Integer[np.ndarray, ' n'],
  *,
  batch_size: int,
  size: int,
  seed: int,
  crop: str = 'random',
  jitter: int = 8,
  foreground_probability: float = 0.7,
  num_threads: int = 1,
  process_index: int = 0,
  process_count: int = 1,
) -> TrainStream:
  """Endless shuffled, cropped and flipped batches of ``batch_size`` rows for this process.

  Every pass shows every record once, in a new order; the processes share each pass. ``crop`` is
  ``center`` (around the middle, ``jitter`` pixels to each side) or ``random`` (with
  ``foreground_probability`` it holds a pixel that some rater marked). Records smaller than
  ``size`` are mirrored at their border. Crops get random flips and quarter turns.
  """
  if len(records) == 0:
    raise DataError('There is no record to train on; look at the split.')
  if crop not in ('center', 'random'):
    raise DataError(f'Unknown training crop {crop!r}; there are center, random.')
  place = (
    functools.partial(crops.near_center, jitter=jitter)
    if crop == 'center'
    else functools.partial(crops.anywhere, foreground_probability=foreground_probability)
  )
  row = functools.partial(_train_row, source=source, size=size, place=place)
  settings = [size, seed, crop, jitter, foreground_probability, batch_size * process_count]
  dataset = (
    grain.MapDataset.source(Passes(records, seed))
    .seed(seed)
    .random_map(row)[process_index::process_count]
    .batch(batch_size, batch_fn=rows.stack)
  )
  return TrainStream(dataset, _signature(source, records, settings), num_threads)


def _signature(source: Source, records: Integer[np.ndarray, ' n'], settings: list[Any]) -> str:
  content = [
    source.info.hash,
    source.rater_order,
    source.percentiles,
    np.asarray(records).tolist(),
    settings,
  ]
  return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _train_row(
  index: int,
  rng: np.random.Generator,
  *,
  source: Source,
  size: int,
  place: Callable[[np.random.Generator, Record, int], crops.Shape],
) -> NumpyBatch:
  record = source[index]
  row, column = place(rng, record, size)
  image, masks = rows.cut(record, row, column, size)
  annotated = record['annotated']
  if source.rater_order == 'shuffle':
    order = rng.permutation(len(annotated))
    masks, annotated = masks[order], annotated[order]
  turns, flip = int(rng.integers(4)), bool(rng.integers(2))
  # Contiguous while its type is small: the float arithmetic is then twice as fast.
  image = np.ascontiguousarray(np.moveaxis(_orient(image, turns, flip), 0, -1))
  return {
    'image': rows.to_float(image, record['limits']),
    'masks': np.ascontiguousarray(_orient(masks, turns, flip)),
    'annotated': annotated,
    'case': np.int32(record['case']),
    'index': np.int32(record['index']),
  }


def _orient(array: Shaped[np.ndarray, '... s s'], turns: int, flip: bool) -> np.ndarray:
  turned = np.rot90(array, turns, axes=(-2, -1))
  return turned[..., ::-1] if flip else turned


def prefetch(
  iterator: Iterator[NumpyBatch], place: Callable[[NumpyBatch], Placed], *, depth: int = 2
) -> Iterator[tuple[Placed, dict[str, Any] | None]]:
  """Places ``depth`` batches ahead of their use; yields each with the stream state after it.

  A checkpoint saves the state that came with the last batch used, so batches in flight are read
  again. The state is None where the iterator has none. ``place`` starts the transfer to the
  devices, which JAX does in the background.
  """
  get_state = getattr(iterator, 'get_state', lambda: None)
  placed = ((place(batch), get_state()) for batch in iterator)
  waiting = deque(itertools.islice(placed, depth))
  while waiting:
    yield waiting.popleft()
    waiting.extend(itertools.islice(placed, 1))
