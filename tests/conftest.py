"""Settings for all tests; pytest reads this before any test imports JAX."""

import os
import sys

import pytest

# Tests compile hundreds of small programs and run each a few times: quick compilation is all that
# counts. It comes too late, and must not pretend otherwise, where JAX is there already.
assert 'jax' not in sys.modules, 'a pytest plugin imported JAX before tests/conftest.py'
os.environ.setdefault(
  'XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')


# Checked whole by -m slow alone, to keep the default suite within ten minutes of two cores: the
# parts of these methods are those of diffoseg, which is checked always.
_BY_NAME = {'annotator_consensus', 'calidiff', 'ccdm', 'cimd'}
# One each of what the partitioner could get wrong: FFTs, loops of rejection sampling, attention.
_ON_MANY_DEVICES = {'diffoseg', 'harmonized', 'proseg'}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Says which tests share a worker, for the sake of compiled programs, and which are slow."""
  for item in items:
    group, params = item.path.name, getattr(item, 'callspec', None)
    params = params.params if params else {}
    method = params.get('name', params.get('method'))
    if group == 'contract_test.py':
      group += f':{method}'
      if 'eight_devices' in item.name and method not in _ON_MANY_DEVICES:
        item.add_marker('slow')
    elif group == 'configs_test.py':
      group = item.nodeid
    if method in _BY_NAME and item.path.name in ('contract_test.py', 'configs_test.py'):
      item.add_marker('slow')
    item.add_marker(pytest.mark.xdist_group(group))
