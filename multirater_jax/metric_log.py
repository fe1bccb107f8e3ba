"""The log of a run: ``metrics.jsonl``, which counts, and TensorBoard scalars, which please.

A line is one JSON object: ``step``, ``kind``, ``stage``, then every value by name. JSON has no NaN:
a value that is not finite is ``null`` there and stands in ``nonfinite`` by name, as in
``{"step": 3, "kind": "train", "stage": "diversify", "loss": null, "nonfinite": {"loss": "nan"}}``.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging

from multirater_jax.workdir import write_text

FILE_NAME = 'metrics.jsonl'
TENSORBOARD_NAME = 'tensorboard'
_RESERVED = ('step', 'kind', 'stage', 'nonfinite')


class MetricLog:
  """Appends to the log of a run; a context manager. Only process 0 writes.

  Lines of steps after ``resume_step`` are dropped on opening, also a line cut short by a crash, so
  that the file goes on as if the run had not been interrupted; the default drops them all. Call
  ``flush`` before a checkpoint is saved: what is flushed outlives a power failure, what is not
  only a kill.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    resume_step: int = -1,
    tensorboard: bool = True,
  ):
    self._file = None
    self._board = None
    if jax.process_index() != 0:
      return
    path = Path(workdir) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_after(path, resume_step)
    self._file = path.open('a', encoding='utf-8', buffering=1)
    if tensorboard:
      self._board = _Board(path.parent / TENSORBOARD_NAME, resume_step + 1)

  def __enter__(self) -> 'MetricLog':
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def write(self, step: int, kind: str, stage: str, values: Mapping[str, Any]) -> None:
    """Adds one line; ``step`` counts within the run, over all stages; values are scalars."""
    if self._file is None:
      return
    scalars = {name: float(value) for name, value in values.items()}
    if taken := [name for name in _RESERVED if name in scalars]:
      raise ValueError(f'a logged value cannot be named {taken[0]!r}')
    self._file.write(_line(step, kind, stage, scalars))
    if self._board is not None:
      self._board.write(step, {f'{kind}/{name}': value for name, value in scalars.items()})

  def flush(self) -> None:
    """Returns when all lines are on the disk."""
    if self._file is None:
      return
    self._file.flush()
    os.fsync(self._file.fileno())
    if self._board is not None:
      self._board.flush()

  def close(self) -> None:
    """Flushes and closes the files; nothing can be written afterwards."""
    if self._file is None:
      return
    self.flush()
    self._file.close()
    self._file = None
    if self._board is not None:
      self._board.close()


class _Board:
  """TensorBoard's event file; its first failure ends it with a warning, never the training.

  Written in this thread: the usual writer has a queue that blocks forever once its thread died.
  """

  def __init__(self, folder: Path, first_step: int):
    self._writer: Any = None
    with self._harmless():
      from tensorboardX.event_file_writer import EventsWriter

      folder.mkdir(parents=True, exist_ok=True)
      # One file per start, even of two starts within one second.
      self._writer = EventsWriter(str(folder / 'events'), f'.{os.getpid()}.{time.time_ns()}')
    self._hide_from(first_step)

  def write(self, step: int, values: Mapping[str, float]) -> None:
    if self._writer is None:
      return
    with self._harmless():
      from tensorboardX.proto.summary_pb2 import Summary

      scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
      self._add(step, summary=Summary(value=scalars))

  def flush(self) -> None:
    if self._writer is not None:
      with self._harmless():
        self._writer.flush()

  def close(self) -> None:
    if self._writer is not None:
      with self._harmless():
        self._writer.close()
    self._writer = None

  def _hide_from(self, step: int) -> None:
    """Tells TensorBoard to hide what an interrupted run wrote at this and later steps."""
    if self._writer is None:
      return
    with self._harmless():
      from tensorboardX.proto.event_pb2 import SessionLog

      self._add(step, session_log=SessionLog(status=SessionLog.START))

  def _add(self, step: int, **content: Any) -> None:
    from tensorboardX.proto.event_pb2 import Event

    self._writer.write_event(Event(wall_time=time.time(), step=step, **content))

  @contextlib.contextmanager
  def _harmless(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:
      logging.warning('TensorBoard scalars are off from here on: %s', error)
      self._writer = None


def _line(step: int, kind: str, stage: str, scalars: Mapping[str, float]) -> str:
  finite = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
  line = {'step': int(step), 'kind': kind, 'stage': stage, **finite}
  if odd := {name: str(value) for name, value in scalars.items() if not math.isfinite(value)}:
    line['nonfinite'] = odd
  return json.dumps(line, allow_nan=False) + '\n'


def _drop_after(path: Path, step: int) -> None:
  """Keeps the whole lines of steps up to ``step``; rewrites the file only if any other is there."""
  if not path.exists():
    return
  text = path.read_text(encoding='utf-8', errors='replace')
  kept = ''.join(f'{line}\n' for line in text.split('\n') if _is_kept(line, step))
  if kept != text:
    write_text(path, kept)


def _is_kept(line: str, step: int) -> bool:
  try:
    return json.loads(line)['step'] <= step
  except (ValueError, KeyError, TypeError):
    return False
