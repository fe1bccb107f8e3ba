import json

import numpy as np
import small_run

from multirater_jax.data.artifacts import CONDITIONS
from multirater_jax.robustness import write_robustness


def test_every_condition_with_and_without_the_harmonizer(tmp_path, monkeypatch):
  directory = small_run.prepare_images(tmp_path)
  experiment = small_run.open_small(
    directory, tmp_path, monkeypatch, evaluation__robustness_records=4
  )
  (tmp_path / 'evaluation').mkdir()
  write_robustness(experiment, 'one', {'level': np.float32(0.1)})
  lines = json.loads((tmp_path / 'evaluation' / 'robustness.json').read_text())
  known = ['clean', *CONDITIONS]
  assert [(line['harmonizer'], line['condition']) for line in lines] == [
    (harmonizer, name) for harmonizer in (True, False) for name in known
  ]
  scores = {(line['harmonizer'], line['condition']): line['scores'] for line in lines}
  clean, noisy = scores[True, 'clean'], scores[True, 'noise 0.25']
  assert set(clean) == {'ged', 'dice_soft', 'dice_match'}
  assert clean != noisy
  # Off, the rule marks nothing: what is scored is the raters' own disagreement with nothing.
  assert scores[False, 'clean'] == scores[False, 'noise 0.25'] != clean
