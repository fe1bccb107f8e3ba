import os
import subprocess
import sys

import jax
import pytest

from experiments import kernels


@pytest.fixture
def flags(monkeypatch):
  """XLA's flags as a function of what was set before."""

  def found(version, dtype, before=''):
    monkeypatch.setattr(jax, '__version_info__', version)
    monkeypatch.setenv('XLA_FLAGS', before)
    kernels.choose(dtype)
    return os.environ['XLA_FLAGS'].split()

  return found


def test_flags_are_those_of_the_version(flags):
  ynn, onednn = kernels._ALWAYS[0, 10], kernels._BFLOAT16[0, 12]
  assert flags((0, 10, 2), 'bfloat16') == flags((0, 10, 0), 'float32') == [ynn]
  assert flags((0, 12, 0), 'bfloat16', '--other=1') == ['--other=1', onednn]
  assert flags((0, 12, 0), 'float32') == flags((0, 13, 0), 'bfloat16') == []


def test_what_is_set_stays(flags):
  set_before = '--xla_cpu_experimental_onednn_custom_call=false'
  assert flags((0, 12, 0), 'bfloat16', set_before) == [set_before]


def test_jax_knows_the_flags():
  program = (
    "from experiments import kernels; kernels.choose('bfloat16')\n"
    'import jax; jax.numpy.ones(2).block_until_ready()'
  )
  environment = {**os.environ, 'XLA_FLAGS': '', 'PYTHONPATH': os.pathsep.join(sys.path)}
  subprocess.run([sys.executable, '-c', program], env=environment, check=True, timeout=120)
