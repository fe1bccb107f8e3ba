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

from experiments import kernels  # noqa: E402

kernels.choose(None)  # as the commands do, so that runs in this process and in others are alike


# Methods that are checked whole by default: two stages, one stage with both outputs, samples alone.
# All of them would take half an hour on two cores: -m slow, and -k NAME for one.
_ALWAYS = {'harmonized', 'pionono', 'prob_unet'}
# Whole runs that other tests, or the data set's own, cover in parts.
_BY_NAME = {'prob_unet': ('phantom', 'lidc_idri', 'npc', 'qubiq'), 'pionono': ('phantom',)}
_QUICK = ('test_shapes', 'test_the_published_scale')  # these compile nothing


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Marks what is checked by name alone as slow."""
  for item in items:
    params = getattr(item, 'callspec', None) and item.callspec.params
    method = params and params.get('name', params.get('method'))
    if method and item.path.name in ('contract_test.py', 'configs_test.py'):
      heavy = method not in _ALWAYS or (method != 'harmonized' and 'eight_devices' in item.name)
      heavy |= params.get('data') in _BY_NAME.get(method, ())
      if heavy and not item.name.startswith(_QUICK):
        item.add_marker('slow')
