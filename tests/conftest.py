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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Names the worker of a test: compiled programs are shared within a file, or by one method."""
  for item in items:
    group = item.path.name
    if group == 'contract_test.py':
      group += f':{item.callspec.params["name"]}'
    elif group == 'configs_test.py':
      group = item.nodeid
    item.add_marker(pytest.mark.xdist_group(group))
