import json

import numpy as np
import small_run
from ml_collections import ConfigDict

from multirater_jax.step_curve import write_step_curve


def test_every_number_of_steps_is_scored_on_the_same_records(tmp_path, monkeypatch):
  directory = small_run.prepare_images(tmp_path)
  experiment = small_run.open_small(
    directory,
    tmp_path,
    monkeypatch,
    evaluation__step_counts=(1, 100),
    evaluation__step_records=5,
    model=ConfigDict({'num_steps': 10}),
  )
  (tmp_path / 'evaluation').mkdir()
  write_step_curve(experiment, 'one', {'level': np.float32(0.1)})
  lines = json.loads((tmp_path / 'evaluation' / 'step_curve.json').read_text())
  assert [(line['steps'], line['used']) for line in lines] == [(1, False), (10, True), (100, False)]
  assert {line['records'] for line in lines} == {5}
  means = [line['ged']['mean'] for line in lines]
  assert len(set(means)) == 3  # fewer steps are another sampler
  assert all(line['ged']['low'] <= line['ged']['mean'] <= line['ged']['high'] for line in lines)
