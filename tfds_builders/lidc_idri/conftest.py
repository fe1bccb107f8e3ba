import contextlib
import os
import pathlib
import resource
import time

import pytest

import tfds_builders
from tfds_builders.lidc_idri import dummy_data

REPOSITORY = pathlib.Path(tfds_builders.__file__).parents[1]


@pytest.fixture(scope='session')
def shared():
  """The folder of the real files; skips where there is none."""
  folder = pathlib.Path(
    os.environ.get('MULTIRATER_SHARED_DATA') or REPOSITORY.parent / 'shared' / 'data'
  )
  if not (folder / 'lidc_xml' / 'patients.csv').is_file():
    pytest.skip(f'no real LIDC-IDRI files in {folder}; MULTIRATER_SHARED_DATA names their folder')
  return folder


@pytest.fixture
def download(tmp_path):
  """A made-up download of one patient; the folder of its series."""
  return dummy_data.write_download(tmp_path / 'download')


@contextlib.contextmanager
def _bounded(seconds, megabytes):
  before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
  yield
  assert time.process_time() - start < seconds
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes * 1024


@pytest.fixture
def bounded():
  """A context that fails when its body takes more processor time or memory than given."""
  return _bounded
