"""What the README shows works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()


def test_the_python_example_runs():
  (example,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
  names = {}
  exec(example, names)
  assert names['samples'].shape == (2, 8, 64, 64, 2)
  assert names['personal'].shape == (2, 4, 64, 64, 2)
  np.testing.assert_allclose(names['samples'].sum(-1), 1, atol=1e-5)
  assert np.isfinite(names['scores']['ged'])
  assert len([line for line in example.splitlines() if line]) <= 15


@pytest.mark.parametrize('config', sorted((ROOT / 'experiments' / 'configs').glob('[a-z]*.py')))
def test_every_method_config_is_told_of(config):
  if config.stem != 'default':
    assert f'`{config.stem}`' in README


def test_files_that_the_readme_names_exist():
  for name in re.findall(r'`([\w/]+\.(?:md|py))`|\]\((docs/[^)]+)\)', README):
    assert (ROOT / ''.join(name)).is_file(), name


def test_ci_runs_the_test_command_of_the_readme():
  ci = (ROOT / '.ci' / 'run').read_text()
  assert "pip\" install -q -e '.[test]'" in ci
  assert 'python" -m pytest' in ci
  assert "pip install -q -e '.[test]' && .venv/bin/python -m pytest" in README
