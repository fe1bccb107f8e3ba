import os

import jax
import pytest
import tiny
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory):
  """Where prepared data sets lie."""
  return tmp_path_factory.mktemp('data')


@pytest.fixture(scope='session')
def cache_dir(tmp_path_factory):
  """Where compiled programs lie, those of all workers."""
  root = tmp_path_factory.getbasetemp()
  return (root.parent if 'PYTEST_XDIST_WORKER' in os.environ else root) / 'compiled'


@pytest.fixture(scope='module', autouse=True)
def compiled_once(cache_dir):
  """Programs of one shape are compiled once for all tests of this folder."""
  settings = {
    'jax_compilation_cache_dir': str(cache_dir),
    'jax_persistent_cache_min_compile_time_secs': 0.0,
  }
  before = {name: getattr(jax.config, name) for name in settings}
  for name, value in settings.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()
  yield
  for name, value in before.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()


@pytest.fixture(scope='session')
def finished(tmp_path_factory, data_dir):
  """The workdir of a run that is trained, evaluated and reported; not to be changed."""
  workdir = tmp_path_factory.mktemp('finished')
  assert tiny.call(tiny.arguments(workdir, data_dir)) == 0
  return workdir


@pytest.fixture(scope='session')
def personal(tmp_path_factory, data_dir):
  """Like ``finished``, of a method that both samples and personalizes."""
  workdir = tmp_path_factory.mktemp('personal')
  assert tiny.call(tiny.arguments(workdir, data_dir, method='pionono')) == 0
  return workdir
