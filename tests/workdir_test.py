import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from multirater_jax.workdir import Lock, WorkdirError, config_difference, write_json, write_text

HOLD = """
  import sys, time
  from multirater_jax.workdir import Lock
  with Lock(sys.argv[1]):
    print('held', flush=True)
    time.sleep(60)
"""


def hold_in_another_process(folder: Path) -> subprocess.Popen:
  process = subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(HOLD), str(folder)], stdout=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == 'held\n'
  return process


def test_second_run_is_refused_and_a_killed_one_is_no_obstacle(tmp_path):
  process = hold_in_another_process(tmp_path)
  with process.stdout:
    with pytest.raises(WorkdirError, match=f'in use by another run .process {process.pid} on') as e:
      Lock(tmp_path).__enter__()
    assert '\n' not in str(e.value)
    process.kill()
    assert process.wait() == -signal.SIGKILL
  assert (tmp_path / 'lock').read_text()  # what the dead process left
  with Lock(tmp_path), pytest.raises(WorkdirError, match=str(os.getpid())), Lock(tmp_path):
    pass
  with Lock(tmp_path):
    pass


def test_lock_makes_the_folder_and_names_one_it_cannot_write(tmp_path):
  with Lock(tmp_path / 'a' / 'b'):
    pass
  (tmp_path / 'file').write_text('')
  with pytest.raises(WorkdirError, match='cannot be written'), Lock(tmp_path / 'file'):
    pass


def test_lock_of_unknown_content_still_refuses(tmp_path):
  process = hold_in_another_process(tmp_path)
  (tmp_path / 'lock').write_text('garbage')
  with process.stdout, pytest.raises(WorkdirError, match='in use by another run;'), Lock(tmp_path):
    pass
  process.kill()
  process.wait()


def test_json_is_plain_and_strict(tmp_path):
  value = {'a': (1, np.float32(2)), 'b': float('nan'), 'c': np.array([1.5, np.inf]), 3: None}
  write_json(tmp_path / 'x.json', value)
  text = (tmp_path / 'x.json').read_text()
  assert json.loads(text) == {'a': [1, 2.0], 'b': None, 'c': [1.5, None], '3': None}
  assert 'NaN' not in text and text.endswith('}\n')


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
  path = tmp_path / 'x.json'
  write_json(path, {'a': 1})
  with pytest.raises(TypeError):
    write_json(path, {'a': object()})
  with pytest.raises(UnicodeEncodeError):
    write_text(path, '\ud800')
  assert json.loads(path.read_text()) == {'a': 1}
  assert os.listdir(tmp_path) == ['x.json']


def test_written_files_have_the_usual_permissions(tmp_path):
  (tmp_path / 'usual').write_text('')
  write_text(tmp_path / 'ours', '')
  modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('usual', 'ours')]
  assert modes[0] == modes[1]


def test_config_difference_names_every_changed_setting():
  old = {'lr': 1e-3, 'net': {'width': 32, 'gone': 1}, 'stages': [{'steps': 5}], 'size': [64, 64]}
  new = {'lr': 1e-3, 'net': {'width': 64}, 'stages': ({'steps': 9},), 'size': (64, 32), 'new': 'x'}
  assert config_difference(old, new) == [
    'net.gone: 1 -> (absent)',
    'net.width: 32 -> 64',
    'new: (absent) -> "x"',
    'size: [64, 64] -> [64, 32]',
    'stages.0.steps: 5 -> 9',
  ]


def test_config_equals_itself_after_a_round_trip(tmp_path):
  config = {
    't': (1, 2),
    'deep': {'empty': {}, 'none': None, 'x': np.float64(0.1)},
    's': ({'a': 1},),
  }
  write_json(tmp_path / 'config.json', config)
  assert config_difference(json.loads((tmp_path / 'config.json').read_text()), config) == []
  assert config_difference({'a': True}, {'a': 1}) == ['a: true -> 1']
  assert config_difference({'a': {}}, {'a': {'b': 1}}) == [
    'a: {} -> (absent)',
    'a.b: (absent) -> 1',
  ]
