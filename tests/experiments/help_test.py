"""The command lines tell their flags."""

import importlib
import re

import pytest
from absl import flags


@pytest.mark.parametrize(
  'name', ['adapt', 'compare', 'doctor', 'export', 'main', 'predict', 'prepare', 'prompts', 'score']
)
def test_help_lists_every_flag_that_the_module_speaks_of(name):
  module = importlib.import_module(f'experiments.{name}')
  listed = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(module.__name__)}
  spoken = set(re.findall(r'(?<!-- )--(\w+)', module.__doc__))
  assert spoken and spoken <= listed
