import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory):
  """Where prepared data sets lie."""
  return tmp_path_factory.mktemp('data')


@pytest.fixture(scope='session')
def cache_dir(tmp_path_factory):
  """Where compiled programs lie, for the processes that tests start."""
  return tmp_path_factory.mktemp('compiled')


@pytest.fixture(scope='module', autouse=True)
def compiled_once(cache_dir):
  """Programs of one shape are compiled once for all the runs of a module."""
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
