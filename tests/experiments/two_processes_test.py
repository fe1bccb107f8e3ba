import json
import signal
import time

import jax
import numpy as np
import pytest
import tiny
from processes import unused_port

from multirater_jax.checkpoints import restore_params

PATIENCE = 1800


def run(argvs, **options):
  """Runs commands at once; returns what each wrote on stdout."""
  processes = [tiny.start(argv, **options) for argv in argvs]
  try:
    results = [process.communicate(timeout=PATIENCE) for process in processes]
  finally:
    for process in processes:
      process.kill()
  for process, (output, error) in zip(processes, results, strict=True):
    assert process.returncode == 0, output + error
  return processes, [output for output, _ in results]


def joined_arguments(argv, port):
  """One command for each of two processes."""
  flags = ['--distributed=on', f'--coordinator=127.0.0.1:{port}', '--num_processes=2']
  return [[*argv, *flags, f'--process_id={number}'] for number in range(2)]


def params_close(ours, theirs, stage, step):
  """The parameters that two runs evaluate."""
  params = [restore_params(w / 'checkpoints' / stage, step, name='ema')[0] for w in (ours, theirs)]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-5), *params)


def scores(workdir):
  rows = tiny.summary(workdir)['rows']
  return {(row['label'], n): v['mean'] for row in rows for n, v in row['scores'].items()}


def files(workdir):
  """Every file that is written once; checkpoints and TensorBoard name theirs as they like."""
  names = {str(p.relative_to(workdir)) for p in workdir.rglob('*') if p.is_file()}
  return {name for name in names if not name.startswith(('tensorboard', 'checkpoints'))}


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path, data_dir, cache_dir):
  more = {'method': 'harmonized', 'evaluation__robustness_records': 4}
  alone = tmp_path / 'alone'
  run([tiny.arguments(alone, data_dir, **more)], devices=2, cache=cache_dir)
  joined = tmp_path / 'joined'
  argv = tiny.arguments(joined, data_dir, **more)
  processes, outputs = run(joined_arguments(argv, unused_port()))
  assert 'Report: ' in outputs[0] and 'Report: ' not in outputs[1]
  environment = json.loads((joined / 'environment.json').read_text())
  assert '--process_id=0' in environment['command'] and environment['processes'] == '2'
  events = [path.name for path in (joined / 'tensorboard').iterdir()]
  assert events and all(f'.{processes[0].pid}.' in name for name in events)
  assert files(joined) == files(alone)
  assert len(tiny.log_lines(joined)) == len(tiny.log_lines(alone))
  for ours, theirs in zip(tiny.log_lines(joined), tiny.log_lines(alone), strict=True):
    assert (ours['step'], ours['kind']) == (theirs['step'], theirs['kind'])
    if 'loss' in ours:
      assert ours['loss'] == pytest.approx(theirs['loss'], rel=1e-5)
  for stage in ('diversify', 'personalize'):
    params_close(joined, alone, stage, 2)
  assert scores(joined) == pytest.approx(scores(alone), abs=1e-3)


def stop_after(argv, workdir, step, **options):
  """Starts the command and terminates it when it has logged a step."""
  process = tiny.start(argv, **options)
  end = time.monotonic() + PATIENCE
  while time.monotonic() < end and process.poll() is None:
    if max((line['step'] for line in tiny.log_lines(workdir)), default=0) >= step:
      process.send_signal(signal.SIGTERM)
      break
    time.sleep(0.01)
  output, error = process.communicate(timeout=PATIENCE)
  assert process.returncode == 143, output + error


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices_and_processes(tmp_path, data_dir, cache_dir):
  steps = 60
  whole, moved = tmp_path / 'whole', tmp_path / 'moved'
  run([tiny.arguments(whole, data_dir, steps=steps)], devices=2, cache=cache_dir)
  argv = tiny.arguments(moved, data_dir, steps=steps)
  stop_after(argv, moved, 10, devices=4, cache=cache_dir)
  stop_after(argv, moved, 30, devices=1, cache=cache_dir)
  run(joined_arguments(argv, unused_port()))
  kept = [line['step'] for line in tiny.log_lines(moved) if 'loss' in line]
  assert kept == list(range(1, steps + 1))
  for ours, theirs in zip(tiny.log_lines(moved), tiny.log_lines(whole), strict=True):
    if 'loss' in ours:
      assert ours['loss'] == pytest.approx(theirs['loss'], rel=1e-4)
  params_close(moved, whole, 'diversify', steps)
