"""Writing checkpoints, keeping the newest and the best, and finding the newest intact one."""

import os
import types
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental import multihost_utils

from multirater_jax.checkpoints import digests, manifest, reader, templates
from multirater_jax.checkpoints.digests import CheckpointError
from multirater_jax.checkpoints.reader import DamagedCheckpointError

BACKGROUND_BYTES = 1 << 30  # larger states are written while the program goes on


class Checkpoints:
  """Checkpoints of one run in one folder; a context manager.

  The newest ``keep_newest`` and the ``keep_best`` with the best finite metric are kept, the others
  deleted. A state of up to 1 GiB is on disk when ``save`` returns; of a larger one ``save``
  returns after a copy to host memory, and the next ``save``, ``wait`` or the end of the context
  waits for the disk. An object that only reads writes nothing.

  With several processes all of them call every method, on one shared file system.
  """

  def __init__(
    self,
    directory: str | os.PathLike[str],
    *,
    keep_newest: int = 2,
    keep_best: int = 1,
    lower_is_better: bool = True,
  ):
    if keep_newest < 1 or keep_best < 0:
      raise ValueError(f'keep_newest={keep_newest} must be >= 1 and keep_best={keep_best} >= 0')
    self.directory = Path(directory).absolute()
    self._keep = keep_newest, keep_best
    self._sign = 1 if lower_is_better else -1
    self._writer: ocp.CheckpointManager | None = None
    self._in_background: int | None = None  # the step that is being written

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: types.TracebackType | None,
  ) -> None:
    try:
      self.close()
    except CheckpointError as late:
      if error is None:
        raise
      logging.error('%s', late)  # the first error is the one to report

  def close(self) -> None:
    """Waits for a save in the background and releases the threads of the writer."""
    try:
      self.wait()
    finally:
      if self._writer is not None:
        self._writer.close()
        self._writer = None

  def steps(self) -> list[int]:
    """Steps that have a folder, ascending, intact or not."""
    return reader.list_steps(self.directory)

  def save(
    self, step: int, state: Any, meta: dict[str, Any], metric: float | int | None = None
  ) -> None:
    """Writes a checkpoint, then deletes those no longer to be kept.

    ``state`` is a pytree of arrays and PRNG keys, ``meta`` a JSON object, ``metric`` what the best
    is chosen by. A metric that is not finite never makes a checkpoint the best one. Damaged
    checkpoints in the way (of this or a later step) are renamed to ``damaged-<step>``.

    Raises:
      CheckpointError: an intact checkpoint of this or a later step exists, or the disk refuses.
    """
    self.wait()
    self._make_room(step)
    leaves = digests.name_leaves(state)
    arrays = {name: digests.to_host(leaf) for name, leaf in leaves.items()}
    made = manifest.make(step, leaves, arrays, meta=meta, metric=metric)
    self._write(step, arrays, {'manifest': made, 'meta': meta})
    if _size(arrays) <= BACKGROUND_BYTES:
      self.wait()

  def wait(self) -> None:
    """Returns when the last save is on disk and those no longer to be kept are deleted."""
    if self._writer is None or self._in_background is None:
      return
    step, self._in_background = self._in_background, None
    try:
      self._writer.wait_until_finished()
      self._writer.check_for_errors()
    except Exception as error:  # Orbax and TensorStore raise many types
      raise self._not_saved(step, error) from error
    self._prune()

  def newest_valid(self) -> int | None:
    """The newest step whose files have the digests of its manifest; None without any."""
    self.wait()
    return self._first_valid(self.steps()[::-1])

  def best_valid(self) -> int | None:
    """The intact step of the best finite metric (the earlier of two equal); None without any."""
    self.wait()
    return self._first_valid(self._ranked(self._manifests()))

  def read_meta(self, step: int) -> dict[str, Any]:
    """The meta data of one step.

    Raises:
      CheckpointError: there is no such step, or it is damaged.
    """
    (step,) = reader.candidates(self.directory, step)
    return reader.read_meta(self.directory, step)

  def restore(self, template: Any, step: int | None = None) -> tuple[Any, dict[str, Any]]:
    """State and meta data of a step, by default of the newest intact one.

    The template gives structure, shapes, dtypes and devices; its values do not matter, its leaves
    may be ``ShapeDtypeStruct``. Damaged checkpoints are passed over with a warning, unless the
    step was asked for.

    Raises:
      CheckpointError: there is no such or no intact checkpoint, or it does not fit the template;
        nothing is ever cast.
    """
    self.wait()
    for candidate in reader.candidates(self.directory, step):
      try:
        return self._restore_step(template, candidate)
      except DamagedCheckpointError as error:
        reader.fall_back(error, explicit=step is not None)
    raise CheckpointError(f'no checkpoint in {self.directory} is intact')

  def _restore_step(self, template: Any, step: int) -> tuple[Any, dict[str, Any]]:
    leaves = reader.read_manifest(self.directory, step)['leaves']
    templates.match(self.directory, step, leaves, template)
    arrays = reader.read_leaves(self.directory, step, leaves)
    meta = reader.read_meta(self.directory, step)
    self._agree(step)
    return templates.place(template, arrays, leaves), meta

  def _agree(self, step: int) -> None:
    """Raises if the processes found different checkpoints to be the newest intact one."""
    if jax.process_count() > 1:
      steps = multihost_utils.process_allgather(np.asarray(step)).tolist()
      if len(set(steps)) > 1:
        raise CheckpointError(
          f'the processes read different checkpoints ({steps}) in {self.directory}; '
          'it must be one shared file system'
        )

  def _first_valid(self, steps: list[int]) -> int | None:
    for step in steps:
      if (damage := self._damage(step)) is None:
        self._agree(step)
        return step
      logging.warning('%s; trying another one', damage)
    self._agree(-1)
    return None

  def _damage(self, step: int) -> DamagedCheckpointError | None:
    try:
      reader.read_meta(self.directory, step)
      reader.read_leaves(self.directory, step, reader.read_manifest(self.directory, step)['leaves'])
    except DamagedCheckpointError as error:
      return error
    return None

  def _write(self, step: int, arrays: dict[str, np.ndarray], items: dict[str, Any]) -> None:
    state = digests.nest((name, array) for name, array in arrays.items() if array.size)
    parts = {name: ocp.args.JsonSave(value) for name, value in items.items()}
    try:
      if self._writer is None:
        self._writer = self._open(arrays)
      # Orbax copies the arrays before it returns, so that the caller may donate the state. Forced,
      # because it would skip a step it deems too low without a word.
      args = ocp.args.Composite(state=ocp.args.PyTreeSave(state), **parts)
      self._writer.save(step, args=args, force=True)
    except Exception as error:
      raise self._not_saved(step, error) from error
    self._in_background = step

  def _open(self, arrays: dict[str, np.ndarray]) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
      cleanup_tmp_directories=True, enable_async_checkpointing=_size(arrays) > BACKGROUND_BYTES
    )
    return ocp.CheckpointManager(self.directory, options=options)

  def _not_saved(self, step: int, error: Exception) -> CheckpointError:
    reason = str(error).strip().split('\n')[0] or type(error).__name__
    return CheckpointError(f'checkpoint {step} could not be written to {self.directory}: {reason}')

  def _make_room(self, step: int) -> None:
    """Sets damaged checkpoints of this and later steps aside; refuses if one is intact."""
    later = [other for other in self.steps() if other >= step]
    if intact := _seen_by_all([other for other in later if self._damage(other) is None]):
      raise CheckpointError(
        f'checkpoint {intact[0]} exists in {self.directory}, so that checkpoint {step} cannot be '
        'saved; continue from the newest one or use another folder'
      )
    for other in _seen_by_all(later):
      self._set_aside(other)

  def _set_aside(self, step: int) -> None:
    if jax.process_index() == 0:
      taken = [p.name for p in self.directory.glob(f'damaged-{step}*')]
      name = f'damaged-{step}' if not taken else f'damaged-{step}-{len(taken) + 1}'
      logging.warning('checkpoint %d in %s is damaged; renamed to %s', step, self.directory, name)
      (self.directory / str(step)).rename(self.directory / name)
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices(f'set aside {step}')
    if self._writer is not None:
      self._writer.reload()

  def _manifests(self) -> dict[int, dict[str, Any]]:
    """The manifests that can be read, by step; the arrays are not looked at."""
    manifests = {}
    for step in self.steps():
      try:
        manifests[step] = reader.read_manifest(self.directory, step)
      except DamagedCheckpointError as error:
        logging.warning('%s', error)
    return manifests

  def _ranked(self, manifests: dict[int, dict[str, Any]]) -> list[int]:
    """Steps with a metric, the best first."""
    metrics = {step: m['metric'] for step, m in manifests.items() if m['metric'] is not None}
    return sorted(metrics, key=lambda step: (self._sign * metrics[step], step))

  def _prune(self) -> None:
    manifests = self._manifests()
    newest, best = self._keep
    keep = {*sorted(manifests)[-newest:], *self._ranked(manifests)[:best]}
    for step in _seen_by_all(sorted(manifests.keys() - keep)):
      self._writer.delete(step)


def _seen_by_all(steps: list[int]) -> list[int]:
  """The steps as process 0 sees them, when all have looked; only then may any of them change files.

  A process that looked late would miss what another has deleted, and not join in deleting it.
  """
  count = int(multihost_utils.broadcast_one_to_all(np.asarray(len(steps), np.int32)))
  padded = np.asarray([*steps, *[0] * count][:count], np.int32)
  return multihost_utils.broadcast_one_to_all(padded).tolist()


def _size(arrays: dict[str, np.ndarray]) -> int:
  return sum(array.nbytes for array in arrays.values())
