import csv
import json

import downloads
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from experiments.configs import default
from multirater_jax.experiment import outputs_of

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
SETTINGS = {'npc': {'data__options__size': 32, 'data__split__policy': 'published'}}


@pytest.fixture(scope='session')
def manual(tmp_path_factory):
  """The folder of a data set's source, written at its first use."""
  root = tmp_path_factory.mktemp('manual')

  def find(data):
    if data in downloads.MAKERS and not (root / data).is_dir():
      downloads.MAKERS[data](root / data)
    return {'data__manual_dir': root / data} if data in downloads.MAKERS else {}

  return find


@pytest.mark.parametrize(
  ('method', 'data'),
  # Every method and every set; absent raters meet a method that personalizes.
  [(method, 'phantom') for method in METHODS]
  + [
    ('pionono' if data == 'folder' else 'prob_unet', data)
    for data in default.DATA_SETS
    if data != 'phantom'
  ],
)
def test_every_config_trains_evaluates_and_reports(
  method, data, tmp_path, data_dir, manual, capsys
):
  more = manual(data) | SETTINGS.get(data, {})
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
  assert ('evaluation/step_curve.json' in files) == bool(config['evaluation']['step_counts'])
  for stage in config['stages']:
    first, last = 0, config['stage'][stage]['steps']
    assert {f'sanity/{stage}-{step:06d}.png' for step in (first, last)} <= files
  page = (workdir / 'report.html').read_text()
  assert all(f'stage {n + 1}: {stage}' in page for n, stage in enumerate(config['stages']))


def check_scores(workdir, config, *, oracle):
  summary = tiny.summary(workdir)
  bounds = ['raters', 'mean field', *(['oracle'] if oracle else [])]
  outputs = outputs_of(ConfigDict(config))
  assert [row['label'] for row in summary['rows']] == [o.label for o in outputs] + bounds
  kinds = ['model'] * len(outputs) + ['bound'] * len(bounds)
  assert [row['kind'] for row in summary['rows']] == kinds
  for row in summary['rows']:
    interval = row['scores']['ged']
    assert 0 <= interval['low'] <= interval['mean'] <= interval['high'] <= 2
  matrices = summary['dice_matrix']
  assert list(matrices) == [o.label for o in outputs if o.verb == 'personalize']
  assert all(
    np.shape(matrix) == (downloads.RATERS, downloads.RATERS) for matrix in matrices.values()
  )
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
    assert line['outputs_per_second'] > 0


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


@pytest.mark.parametrize(
  'settings,sentence',
  [
    ({'policy': 'publshed'}, 'did you mean "published"?'),
    ({'policy': 'held_back', 'folds': 4}, 'policy=held_back has no folds'),
    ({'policy': 'published'}, 'names no published part'),  # no case of the phantom does
  ],
)
def test_published_splits_that_cannot_be(settings, sentence, tmp_path, data_dir, capsys):
  more = {f'data__split__{key}': value for key, value in settings.items()}
  assert tiny.call(tiny.arguments(tmp_path, data_dir, **more)) == 2
  assert sentence in tiny.sentence(capsys)


def test_the_argument_may_name_the_steps():
  assert default.steps('phantom,cpu,400+160') == (400, 160)
  assert default.steps('phantom') == default.STEPS['phantom']
  assert default.steps('lidc_slices,paper') == default.PAPER_STEPS


@pytest.mark.parametrize('argument', ['phantom,cpu,400', 'phantom,cpu,0+5', 'phantom,cpu,4+5,6'])
def test_a_wrong_argument_is_refused(argument):
  with pytest.raises(ValueError, match='is not "<data set>,<scale>,<first>'):
    default.parse(argument)
