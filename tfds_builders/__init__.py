"""Data sets with several raters, prepared once as array_record files and read without TensorFlow.

A data set is a package ``tfds_builders/<name>/<name>_dataset_builder.py`` that offers ``Builder``
(a ``tfds.core.GeneratorBasedBuilder`` with the one split ``record.SPLIT``) and ``configure``, which
turns options into the builder's config, named after the options and the source files
(``record.named``), and raises ``DataError`` where the source is absent. A set that is read from
files also offers ``entries``, which gives every image with the reader of its records
(``record.Entry``), and may offer ``counts_table``, which shows its ``counts.json``.
"""

import contextlib
import errno
import fcntl
import importlib
import inspect
import io
import pathlib
import shutil
import types
from collections.abc import Iterator
from typing import Any

from absl import logging

from multirater_jax.data.errors import DataError
from multirater_jax.progress import follow
from tfds_builders import counts, parallel
from tfds_builders.records import RECORDS, SetInfo, read_info, write_records

BUILDERS = {
  'phantom': 'tfds_builders.phantom.phantom_dataset_builder',
  'lidc_idri': 'tfds_builders.lidc_idri.lidc_idri_dataset_builder',
  'lidc_slices': 'tfds_builders.lidc_slices.lidc_slices_dataset_builder',
  'npc': 'tfds_builders.npc.npc_dataset_builder',
  'qubiq': 'tfds_builders.qubiq.qubiq_dataset_builder',
  'folder': 'tfds_builders.folder.folder_dataset_builder',
}

__all__ = ['BUILDERS', 'SetInfo', 'configure', 'counts_text', 'prepare', 'read_info']


def prepare(
  name: str, data_dir: str | pathlib.Path, *, jobs: int = 1, **options: Any
) -> pathlib.Path:
  """Builds the data set below ``data_dir`` once and returns the folder that holds it.

  The folder depends on the options and on the source files (names, sizes, times), so a change
  builds another set and never reuses an old one. Safe to call from several processes at once.
  With ``jobs`` above 1 so many processes read the source (a program that calls this so must guard
  its main part by ``if __name__ == '__main__'``); the set is the same.

  Raises:
    DataError: for an unknown name or option, a missing or unreadable source, a full disk, no job.
  """
  module, config = configure(name, **options)
  data_dir = pathlib.Path(data_dir).expanduser().resolve()
  directory = data_dir / name / config.name / str(module.Builder.VERSION)
  if (directory / RECORDS).is_file():
    return directory
  with _disk_errors(directory), _locked(data_dir / name), parallel.jobs(jobs):
    _remove_stale(data_dir / name)
    with _quiet():
      builder = module.Builder(data_dir=data_dir, config=config)
      _show_progress(builder)
      builder.download_and_prepare(file_format='array_record')
    if not (directory / RECORDS).is_file():
      write_records(directory)
  return directory


def configure(name: str, **options: Any) -> tuple[types.ModuleType, Any]:
  """The builder's module and its config, whose name stands for options and source.

  Raises:
    DataError: for an unknown name or option, or a missing source.
  """
  if name not in BUILDERS:
    raise DataError(f'Unknown data set {name!r}; there are {", ".join(sorted(BUILDERS))}.')
  module = importlib.import_module(BUILDERS[name])
  known = _option_names(module)
  for option in options:
    if option not in known:
      raise DataError(f'Data set {name} has no option {option!r}; it has {", ".join(known)}.')
  try:
    return module, module.configure(**options)
  except TypeError as error:
    shown = ', '.join(f'{key}={value!r}' for key, value in options.items())
    raise DataError(f'Data set {name} cannot use the options {shown} ({error}).') from error


def counts_text(name: str, directory: pathlib.Path) -> str:
  """What the builder counted, if it does, line by line; beside published numbers if it can."""
  found = counts.read(directory)
  module = importlib.import_module(BUILDERS[name])
  if found and hasattr(module, 'counts_table'):
    return module.counts_table(found)
  return '\n'.join(f'{key}: {count:,}' for key, count in found.items())


def _option_names(module: types.ModuleType) -> list[str]:
  """The keywords of ``configure``; where it takes any, the fields of ``Config``."""
  parameters = inspect.signature(module.configure).parameters.values()
  if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
    return [parameter.name for parameter in parameters]
  return list(module.Config.__annotations__)


def _show_progress(builder: Any) -> None:
  generate = builder._generate_examples
  builder._generate_examples = lambda: follow(generate(), 'records')


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps TFDS from printing."""
  import tensorflow_datasets as tfds

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
  for stale in directory.glob('*/incomplete.*'):
    shutil.rmtree(stale, ignore_errors=True)
