import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.metric_log import MetricLog


def read(folder: Path) -> list[dict]:
  def refuse(constant):
    raise ValueError(constant)

  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line, parse_constant=refuse) for line in lines]


def write_steps(log: MetricLog, steps) -> None:
  for step in steps:
    log.write(step, 'train', 'diversify', {'loss': 1 / (step + 1), 'kl': np.float32(step)})
    if step % 3 == 0:
      log.write(step, 'validation', 'diversify', {'ged': jnp.float32(0.5)})


def test_lines_have_the_documented_form(tmp_path):
  with MetricLog(tmp_path, tensorboard=False) as log:
    log.write(3, 'train', 'personalize', {'loss': 0.5, 'kl': math.nan, 'z': -math.inf})
  assert read(tmp_path) == [
    {
      'step': 3,
      'kind': 'train',
      'stage': 'personalize',
      'loss': 0.5,
      'kl': None,
      'z': None,
      'nonfinite': {'kl': 'nan', 'z': '-inf'},
    }
  ]
  assert not (tmp_path / 'tensorboard').exists()


def test_lines_are_in_the_file_without_flush(tmp_path):
  log = MetricLog(tmp_path, tensorboard=False)
  log.write(0, 'train', 'a', {'loss': 1})
  assert len(read(tmp_path)) == 1
  log.close()


@pytest.mark.parametrize(
  'torn', ['', '{"step": 7, "kind": "tr', '{"step": 5, "loss": 1}', '\x00\x00']
)
def test_resumed_file_equals_the_uninterrupted_one(tmp_path, torn):
  with MetricLog(tmp_path / 'whole') as log:
    write_steps(log, range(10))
  with MetricLog(tmp_path / 'resumed') as log:
    write_steps(log, range(8))
  with (tmp_path / 'resumed' / 'metrics.jsonl').open('a') as file:
    file.write(torn)
  with MetricLog(tmp_path / 'resumed', resume_step=4) as log:
    write_steps(log, range(5, 10))
  whole, resumed = ((tmp_path / n / 'metrics.jsonl').read_bytes() for n in ('whole', 'resumed'))
  assert whole == resumed


def test_a_line_that_only_lacks_its_end_is_kept(tmp_path):
  for name in ('whole', 'cut'):
    with MetricLog(tmp_path / name) as log:
      write_steps(log, range(4))
  whole = (tmp_path / 'whole' / 'metrics.jsonl').read_bytes()
  (tmp_path / 'cut' / 'metrics.jsonl').write_bytes(whole[:-1])
  MetricLog(tmp_path / 'cut', resume_step=3).close()
  assert (tmp_path / 'cut' / 'metrics.jsonl').read_bytes() == whole


def test_a_fresh_start_drops_everything(tmp_path):
  with MetricLog(tmp_path) as log:
    write_steps(log, range(4))
  MetricLog(tmp_path).close()
  assert read(tmp_path) == []


def test_reserved_names_are_refused(tmp_path):
  with MetricLog(tmp_path) as log, pytest.raises(ValueError, match="named 'step'"):
    log.write(0, 'train', 'a', {'step': 1})


def test_tensorboard_gets_every_scalar(tmp_path):
  from tensorboardX.proto.event_pb2 import Event

  with MetricLog(tmp_path) as log:
    log.write(2, 'train', 'a', {'loss': 0.5, 'kl': math.nan})
  (file,) = (tmp_path / 'tensorboard').iterdir()
  scalars = {}
  for record in _records(file.read_bytes()):
    event = Event.FromString(record)
    scalars |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
  assert scalars['train/loss'] == (2, 0.5)
  assert scalars['train/kl'][0] == 2 and math.isnan(scalars['train/kl'][1])


def _records(data: bytes):
  while data:
    size = int.from_bytes(data[:8], 'little')  # length, its checksum, the record, its checksum
    yield data[12 : 12 + size]
    data = data[16 + size :]


def test_two_starts_never_share_an_event_file(tmp_path):
  for _ in range(3):
    MetricLog(tmp_path).close()
  assert len(list((tmp_path / 'tensorboard').iterdir())) == 3


def test_failing_tensorboard_never_stops_the_log(tmp_path, monkeypatch, caplog):
  from tensorboardX.event_file_writer import EventsWriter

  def fail(*args):
    raise OSError('disk full')

  with MetricLog(tmp_path) as log:
    monkeypatch.setattr(EventsWriter, 'write_event', fail)
    write_steps(log, range(100))
    log.flush()
  assert caplog.text.count('TensorBoard scalars are off from here on: disk full') == 1
  assert len(read(tmp_path)) == 134
  (tmp_path / 'b').mkdir()
  (tmp_path / 'b' / 'tensorboard').write_text('in the way')
  with MetricLog(tmp_path / 'b') as log:
    write_steps(log, range(3))
  assert len(read(tmp_path / 'b')) == 4


def test_only_process_0_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  with MetricLog(tmp_path / 'x') as log:
    write_steps(log, range(3))
    log.flush()
  assert not (tmp_path / 'x').exists()
