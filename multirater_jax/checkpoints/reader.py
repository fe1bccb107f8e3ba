"""Reading one checkpoint: every byte is compared with the manifest before it is used.

A step's folder has three parts: ``state`` (arrays, as nested dicts of the names), ``meta`` (JSON)
and ``manifest`` (JSON: shape, dtype and SHA-256 of every array, digest of meta, the metric, and
a digest of the manifest itself). Orbax detects neither bit rot nor an emptied folder; this does.
"""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from multirater_jax.checkpoints import digests, manifest
from multirater_jax.checkpoints.digests import CheckpointError


class DamagedCheckpointError(CheckpointError):
  """The files of a checkpoint are incomplete or do not have the digests of its manifest."""


def list_steps(directory: Path) -> list[int]:
  """Steps that have a folder, ascending; whether they are valid is another question."""
  if not directory.is_dir():
    return []
  return sorted(int(p.name) for p in directory.iterdir() if p.name.isdigit() and p.is_dir())


def read_json(directory: Path, step: int, item: str) -> Any:
  """The JSON item ``meta`` or ``manifest`` of a step, unchecked."""
  path = directory / str(step) / item
  try:
    return ocp.JsonCheckpointHandler().restore(path, args=ocp.args.JsonRestore())
  except MemoryError:
    raise
  except Exception as error:  # what a torn file raises is not part of any interface
    raise _damaged(directory, step, f'its {item} cannot be read') from error


def read_manifest(directory: Path, step: int) -> dict[str, Any]:
  """The manifest of a step, compared with its own digest."""
  found = read_json(directory, step, 'manifest')
  if not manifest.is_whole(found):
    raise _damaged(directory, step, 'its manifest does not have its own digest')
  if found['format'] != manifest.FORMAT:
    raise CheckpointError(
      f'checkpoint {step} in {directory} has format {found["format"]}, '
      f'but this version reads format {manifest.FORMAT}'
    )
  if found['step'] != step:
    raise _damaged(directory, step, f'its manifest is that of step {found["step"]}')
  return found


def read_meta(directory: Path, step: int) -> dict[str, Any]:
  """The meta data of a step, compared with the manifest."""
  meta = read_json(directory, step, 'meta')
  if digests.hash_json(meta) != read_manifest(directory, step)['meta']:
    raise _damaged(directory, step, 'its meta data do not have the digest of the manifest')
  return meta


def read_leaves(
  directory: Path, step: int, leaves: dict[str, digests.Record]
) -> dict[str, np.ndarray]:
  """The named arrays of a step, compared with their records of the manifest."""
  stored = digests.nest((name, ocp.RestoreArgs(np.ndarray)) for name in _stored(leaves))
  try:
    tree = _read_arrays(directory / str(step) / 'state', stored) if stored else {}
    arrays = {name: np.asarray(array) for name, array in digests.name_leaves(tree).items()}
  except MemoryError:
    raise
  except Exception as error:  # TensorStore raises many types
    raise _damaged(directory, step, 'its arrays cannot be read') from error
  for name, record in leaves.items():
    if name not in arrays:  # Orbax does not store arrays without elements
      arrays[name] = np.zeros(record['shape'], jax.numpy.dtype(record['dtype']))
    if not digests.fits(arrays[name], record):
      raise _damaged(directory, step, f'{name} does not have the digest of the manifest')
  return arrays


def restore_params(
  directory: str | os.PathLike[str], step: int | None = None, *, name: str = 'params'
) -> tuple[dict[str, Any], dict[str, Any]]:
  """One subtree of a saved state, as nested dicts of NumPy arrays, and the meta data.

  Needs no template; the other arrays of the state are not read. Without a step it is the newest
  intact one; ``Checkpoints(directory).best_valid()`` names the best.

  Raises:
    CheckpointError: there is no such (or no valid) checkpoint, or no subtree of that name.
  """
  directory = Path(directory).absolute()
  for candidate in candidates(directory, step):
    try:
      return _read_subtree(directory, candidate, name)
    except DamagedCheckpointError as error:
      fall_back(error, explicit=step is not None)
  raise CheckpointError(f'no checkpoint in {directory} is intact')


def candidates(directory: Path, step: int | None) -> list[int]:
  """The steps to try, newest first, or the one asked for."""
  steps = list_steps(directory)
  if not steps:
    raise CheckpointError(f'there is no checkpoint in {directory}')
  if step is None:
    return steps[::-1]
  if step not in steps:
    present = ', '.join(map(str, steps))
    raise CheckpointError(f'there is no checkpoint {step} in {directory}, only {present}')
  return [step]


def fall_back(error: DamagedCheckpointError, *, explicit: bool) -> None:
  """Warns that an older checkpoint is tried, or raises when the step was asked for by number."""
  if explicit:
    raise error
  logging.warning('%s; trying the one before it', error)


def _read_subtree(directory: Path, step: int, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
  leaves = read_manifest(directory, step)['leaves']
  wanted = {key: record for key, record in leaves.items() if key.startswith(f'{name}/')}
  if not wanted:
    tops = ', '.join(sorted({key.split('/')[0] for key in leaves}))
    raise CheckpointError(f'checkpoint {step} in {directory} has no {name!r}, only {tops}')
  arrays = read_leaves(directory, step, wanted)
  tree = digests.nest((key.removeprefix(f'{name}/'), array) for key, array in arrays.items())
  return tree, read_meta(directory, step)


def _read_arrays(path: Path, stored: dict[str, Any]) -> Any:
  restore = ocp.args.PyTreeRestore(item=stored, restore_args=stored, partial_restore=True)
  return ocp.PyTreeCheckpointHandler().restore(path, args=restore)


def _stored(leaves: dict[str, digests.Record]) -> list[str]:
  return [name for name, record in leaves.items() if 0 not in record['shape']]


def _damaged(directory: Path, step: int, why: str) -> DamagedCheckpointError:
  return DamagedCheckpointError(f'checkpoint {step} in {directory} is damaged: {why}')
