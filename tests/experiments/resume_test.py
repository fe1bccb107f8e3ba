import os
import random
import signal
import time

import pytest
import tiny

from multirater_jax.checkpoints import digest
from multirater_jax.progress import Progress
from multirater_jax.train import Stopped, train

TIMES = ('images_per_second', 'data_wait_share', 'outputs_per_second')
PATIENCE = 1800  # seconds that a start may take on a busy machine


def trained(experiment):
  return {stage: digest(params) for stage, params in train(experiment).items()}


def timeless(workdir):
  """The log without what no two runs share."""
  lines = tiny.log_lines(workdir)
  return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def signal_after(monkeypatch, step, number):
  """The program gets a signal as it reports a step."""
  update = Progress.update

  def update_and_signal(self, now, values):
    update(self, now, values)
    if now == step:
      os.kill(os.getpid(), number)

  monkeypatch.setattr(Progress, 'update', update_and_signal)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, data_dir):
  """Eight steps in one go: the experiment and the digests of its parameters."""
  argv = tiny.arguments(tmp_path_factory.mktemp('whole'), data_dir, steps=8)
  experiment = tiny.open_run(argv)
  return experiment, trained(experiment)


@pytest.mark.parametrize(
  ('number', 'code', 'damaged'),
  [(signal.SIGTERM, 143, False), (signal.SIGINT, 130, True)],
  ids=['terminated', 'interrupted, with a damaged checkpoint'],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
  uninterrupted, number, code, damaged, tmp_path, monkeypatch
):
  experiment, expected = uninterrupted
  stopped = experiment._replace(workdir=tmp_path)
  with monkeypatch.context() as patch, pytest.raises(Stopped, match='received signal') as stop:
    signal_after(patch, 4, number)
    train(stopped)
  assert stop.value.code == code
  checkpoints = tmp_path / 'checkpoints' / 'diversify'
  assert max(int(p.name) for p in checkpoints.iterdir()) == 5
  if damaged:
    for file in (checkpoints / '5' / 'state').rglob('d/*'):
      file.write_bytes(file.read_bytes()[:50])
  assert trained(stopped) == expected
  assert timeless(tmp_path) == timeless(experiment.workdir)


def test_a_signal_in_the_last_step_still_ends_the_program(
  uninterrupted, tmp_path, data_dir, monkeypatch, capsys
):
  with monkeypatch.context() as patch:
    signal_after(patch, 8, signal.SIGTERM)
    assert tiny.call(tiny.arguments(tmp_path, data_dir, steps=8)) == 143
  assert 'received signal 15. The state is saved' in capsys.readouterr().out
  assert not (tmp_path / 'evaluation').exists()
  _, expected = uninterrupted
  assert trained(tiny.open_run(tiny.arguments(tmp_path, data_dir, steps=8))) == expected


def last_step(workdir):
  return max((line['step'] for line in tiny.log_lines(workdir)), default=0)


def finish(process):
  """Waits for the end of the program; returns its exit status and what it wrote."""
  output, error = process.communicate(timeout=PATIENCE)
  return process.returncode, output + error


def strike(process, workdir, step, number, delay):
  """Sends a signal a moment after a step was logged."""
  end = time.monotonic() + PATIENCE
  while last_step(workdir) < step and process.poll() is None and time.monotonic() < end:
    time.sleep(0.005)
  time.sleep(delay)
  process.send_signal(number)
  return finish(process)


@pytest.mark.slow
def test_a_run_killed_five_times_ends_like_an_uninterrupted_one(tmp_path, data_dir, cache_dir):
  def arguments(name):
    return tiny.arguments(
      tmp_path / name,
      data_dir,
      method='harmonized',
      steps=60,
      stage__diversify__checkpoint_every=10,
      stage__personalize__checkpoint_every=10,
    )

  def start(name):
    return tiny.start(arguments(name), cache=cache_dir)

  code, output = finish(start('whole'))
  assert code == 0, output
  codes = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
  chance = random.Random(0)
  moments = sorted(chance.sample(range(2, 100), 5))
  kills = chance.sample([*codes, signal.SIGKILL, signal.SIGTERM], 5)
  for step, number in zip(moments, kills, strict=True):
    code, output = strike(
      start('killed'), tmp_path / 'killed', step, number, chance.uniform(0, 0.1)
    )
    print(
      f'{number.name} at step {step}: status {code}, log ends at {last_step(tmp_path / "killed")}'
    )
    assert code == codes[number], output
    assert ('The state is saved' in output) == (number != signal.SIGKILL), output
  code, output = finish(start('killed'))
  assert code == 0, output
  whole, killed = (tiny.summary(tmp_path / name) for name in ('whole', 'killed'))
  assert killed['parameters'] == whole['parameters']
  assert killed['rows'] == whole['rows']
  assert timeless(tmp_path / 'killed') == timeless(tmp_path / 'whole')
