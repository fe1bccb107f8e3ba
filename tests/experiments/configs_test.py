import csv
import json

import numpy as np
import pytest
import tiny
from PIL import Image

from experiments.configs import default

METHODS = sorted(
  path.stem for path in tiny.CONFIGS.glob('*.py') if path.stem not in ('__init__', 'default')
)
RUN_FILES = {
  'config.json',
  'environment.json',
  'evaluation/cases.csv',
  'evaluation/panels.npz',
  'evaluation/summary.json',
  'fingerprint.json',
  'metrics.jsonl',
  'report.html',
  'split.json',
}
RATERS = 4


def draw(path, array):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(array).save(path)


@pytest.fixture(scope='session')
def manual(tmp_path_factory):
  """A source for every data set that needs one: 24 images of noise, boxes as masks."""
  root, rng = tmp_path_factory.mktemp('manual'), np.random.default_rng(0)
  for number in range(24):
    image = rng.integers(0, 256, (40, 32), dtype=np.uint8)
    nodule = root / 'lidc_slices' / 'LIDC-IDRI-slices' / f'LIDC-IDRI-{number:04}' / 'nodule-0'
    draw(nodule / 'images' / 'slice-0.png', image[:32])
    draw(root / 'folder' / 'images' / f'{number}.png', image)
    for rater in range(RATERS):
      mask = np.zeros_like(image)
      mask[4 : 12 + 2 * rater, 4:20] = 255 * (number % 5 != rater)
      draw(nodule / f'mask-{rater}' / 'slice-0.png', mask[:32])
      if number % 3 != rater:
        draw(root / 'folder' / f'rater_{rater + 1}' / f'{number}.png', mask)
  return root


@pytest.mark.parametrize(
  ('method', 'data'),
  [(method, 'phantom') for method in METHODS]
  + [('harmonized', data) for data in default.DATA_SETS if data != 'phantom'],
)
def test_every_config_trains_evaluates_and_reports(
  method, data, tmp_path, data_dir, manual, capsys
):
  more = {'data__manual_dir': manual / data} if (manual / data).is_dir() else {}
  argv = tiny.arguments(tmp_path, data_dir, method=method, data=data, **more)
  assert tiny.call(argv) == 0
  output = capsys.readouterr().out
  config = json.loads((tmp_path / 'config.json').read_text())
  check_files(tmp_path, config)
  check_scores(tmp_path, config, oracle=data == 'phantom')
  check_log(tmp_path, config)
  for row in tiny.summary(tmp_path)['rows']:
    assert row['label'] in output
  assert output.endswith(f'Report: {tmp_path / "report.html"}\n')


def check_files(workdir, config):
  files = {str(p.relative_to(workdir)) for p in workdir.rglob('*') if p.is_file()}
  assert files >= RUN_FILES
  assert not [name for name in files if name.rpartition('/')[2].startswith('.')]
  assert ('evaluation/robustness.json' in files) == bool(config['evaluation']['robustness_records'])
  page = (workdir / 'report.html').read_text()
  assert all(f'stage {n + 1}: {stage}' in page for n, stage in enumerate(config['stages']))


def check_scores(workdir, config, *, oracle):
  summary = tiny.summary(workdir)
  bounds = ['raters', 'mean field', *(['oracle'] if oracle else [])]
  stages = [f'stage {number + 1}: {stage}' for number, stage in enumerate(config['stages'])]
  assert [row['label'] for row in summary['rows']] == stages + bounds
  assert [row['kind'] for row in summary['rows']] == ['model'] * len(stages) + ['bound'] * len(
    bounds
  )
  for row in summary['rows']:
    interval = row['scores']['ged']
    assert 0 <= interval['low'] <= interval['mean'] <= interval['high'] <= 2
  personal = [s for s in config['stages'] if config['stage'][s]['verb'] == 'personalize']
  matrices = summary['dice_matrix']
  assert [label.split(': ')[1] for label in matrices] == personal
  assert all(np.shape(matrix) == (RATERS, RATERS) for matrix in matrices.values())
  test = json.loads((workdir / 'split.json').read_text())['test']
  assert summary['cases'] == len(test) == 6
  with (workdir / 'evaluation' / 'cases.csv').open() as file:
    lines = list(csv.DictReader(file))
  assert {line['case'] for line in lines} == set(test)
  assert len(lines) == summary['units'] * len(summary['rows'])


def check_log(workdir, config):
  lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  total = sum(config['stage'][stage]['steps'] for stage in config['stages'])
  assert [line['step'] for line in lines if line['kind'] == 'train'] == list(range(1, total + 1))
  validated = [line for line in lines if line['kind'] == 'validation']
  assert {line['stage'] for line in validated} == set(config['stages'])
  for line in validated:
    assert config['stage'][line['stage']]['best_by'] in line


@pytest.mark.parametrize('data', default.DATA_SETS)
@pytest.mark.parametrize('method', METHODS)
def test_the_published_scale_builds(method, data, tmp_path, capsys):
  config = f'--config={tiny.CONFIGS / method}.py:{data},paper'
  assert tiny.call([config, '--print_config', f'--workdir={tmp_path / "run"}']) == 0
  output = capsys.readouterr().out
  assert 'size: 128' in output and 'batch_size: 12' in output and 'steps: 34000' in output
  assert not (tmp_path / 'run').exists()


def test_a_data_set_or_scale_that_is_not_there(capsys):
  for argument, known in (('phantoms', 'phantom, lidc_slices'), ('phantom,papers', 'cpu, paper')):
    assert tiny.call([f'--config={tiny.CONFIGS}/prob_unet.py:{argument}', '--print_config']) == 2
    assert known in tiny.sentence(capsys)
