"""Data sets with several raters, prepared once as array_record files and read without TensorFlow.

A data set is a package ``tfds_builders/<name>/<name>_dataset_builder.py`` that offers ``Builder``
(a ``tfds.core.GeneratorBasedBuilder`` with the one split ``record.SPLIT``) and ``configure``, which
turns options into the builder's config, named after the options and the source files
(``record.named``), and raises ``DataError`` where the source is absent.
"""

import contextlib
import errno
import fcntl
import importlib
import inspect
import io
import pathlib
import shutil
import sys
import types
from collections.abc import Iterator
from typing import Any

from absl import logging

from multirater_jax.data.errors import DataError
from tfds_builders.records import RECORDS, SetInfo, read_info, write_records

BUILDERS = {
  'phantom': 'tfds_builders.phantom.phantom_dataset_builder',
  'lidc_idri': 'tfds_builders.lidc_idri.lidc_idri_dataset_builder',
  'lidc_slices': 'tfds_builders.lidc_slices.lidc_slices_dataset_builder',
  'npc': 'tfds_builders.npc.npc_dataset_builder',
  'qubiq': 'tfds_builders.qubiq.qubiq_dataset_builder',
  'folder': 'tfds_builders.folder.folder_dataset_builder',
}

__all__ = ['BUILDERS', 'SetInfo', 'prepare', 'read_info']


def prepare(name: str, data_dir: str | pathlib.Path, **options: Any) -> pathlib.Path:
  """Builds the data set below ``data_dir`` once and returns the folder that holds it.

  The folder depends on the options and on the source files (names, sizes, times), so a change
  builds another set and never reuses an old one. Safe to call from several processes at once.

  Raises:
    DataError: for an unknown name or option, a missing or unreadable source, a full disk.
  """
  module, config = _configure(name, options)
  data_dir = pathlib.Path(data_dir).expanduser().resolve()
  directory = data_dir / name / config.name / str(module.Builder.VERSION)
  if (directory / RECORDS).is_file():
    return directory
  with _disk_errors(directory), _locked(data_dir / name):
    _remove_stale(directory.parent)
    with _quiet():
      builder = module.Builder(data_dir=data_dir, config=config)
      builder.download_and_prepare(file_format='array_record')
    if not (directory / RECORDS).is_file():
      write_records(directory)
  return directory


def _configure(name: str, options: dict[str, Any]) -> tuple[types.ModuleType, Any]:
  """The builder's module and its config, whose name stands for options and source."""
  if name not in BUILDERS:
    raise DataError(f'Unknown data set {name!r}; there are {", ".join(sorted(BUILDERS))}.')
  module = importlib.import_module(BUILDERS[name])
  known = _option_names(module)
  for option in options:
    if option not in known:
      raise DataError(f'Data set {name} has no option {option!r}; it has {", ".join(known)}.')
  return module, module.configure(**options)


def _option_names(module: types.ModuleType) -> list[str]:
  """The keywords of ``configure``; where it takes any, the fields of ``Config``."""
  parameters = inspect.signature(module.configure).parameters.values()
  if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
    return [parameter.name for parameter in parameters]
  return list(module.Config.__annotations__)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps TFDS from printing; its progress bars stay where a person sees them."""
  import tensorflow_datasets as tfds

  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _disk_errors(directory: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
      raise
    raise DataError(
      f'Cannot write the data set to {directory} ({error.strerror}); free space there or choose '
      'another data_dir.'
    ) from error


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
  """Holds the set's lock; the system releases it when the process ends in whatever way."""
  directory.mkdir(parents=True, exist_ok=True)
  with open(directory / '.lock', 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _remove_stale(directory: pathlib.Path) -> None:
  """Removes what killed runs left; the caller holds the lock, so no live run owns it."""
  for stale in directory.glob('incomplete.*'):
    shutil.rmtree(stale, ignore_errors=True)
