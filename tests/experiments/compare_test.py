import json
import shutil
import sys
from unittest import mock

import numpy as np
import pytest
from absl.testing import flagsaver

from experiments import compare
from multirater_jax import comparison
from multirater_jax.data.errors import DataError


@pytest.fixture
def runs(personal, tmp_path):
  """One finished run under two names; in the second every GED is 0.1 higher."""
  for name in ('pionono', 'prob_unet'):
    shutil.copytree(personal, tmp_path / name)
  folder = tmp_path / 'prob_unet'
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(config | {'method': 'prob_unet'}))
  path = folder / 'evaluation' / 'cases.csv'
  header, *lines = path.read_text().splitlines()
  place = header.split(',').index('ged')
  cells = [line.split(',') for line in lines]
  raised = [[*c[:place], f'{float(c[place]) + 0.1:.6g}', *c[place + 1 :]] for c in cells]
  path.write_text('\n'.join([header, *map(','.join, raised)]) + '\n')
  return tmp_path


def test_a_row_is_the_run_and_a_difference_is_paired(runs):
  found = [comparison.read_run(runs / name) for name in ('pionono', 'prob_unet')]
  summary = comparison.table(found)
  one, two, *bounds = summary['rows']
  assert [one['label'], two['label']] == ['pionono', 'prob_unet']
  assert {row['kind'] for row in bounds} == {'bound'}
  own = {row['label']: row['scores'] for row in found[0].summary['rows']}
  assert one['scores']['ged']['mean'] == pytest.approx(
    own['stage 1: fit (sample)']['ged']['mean'], rel=1e-4
  )
  dice = own['stage 1: fit (personalize)']['dice_rater']['mean']
  assert one['scores']['dice_rater']['mean'] == pytest.approx(dice, rel=1e-4)
  change = comparison.differences(found, 'prob_unet')['pionono']
  assert change['ged']['mean'] == pytest.approx(-0.1, abs=1e-5)
  assert change['ged']['high'] < 0 and change['dice_rater']['mean'] == 0
  text = comparison.markdown(summary, {'pionono': change}, 'prob_unet')
  assert '-0.100 (-0.100 to -0.100)' in text and text.count('\n') == 2 + len(summary['rows'])


def test_runs_on_other_images_are_not_compared(runs):
  found = [comparison.read_run(runs / name) for name in ('pionono', 'prob_unet')]
  with pytest.raises(DataError, match='different images'):
    comparison.table([found[0], found[1]._replace(units=found[1].units[::-1])])
  with pytest.raises(DataError, match='holds no evaluated run'):
    comparison.read_run(runs)


def test_the_command_trains_each_and_writes_the_comparison(runs, capsys):
  with (
    mock.patch.object(compare.subprocess, 'run') as train,
    flagsaver.flagsaver(methods=['pionono', 'prob_unet'], workdir=str(runs)),
  ):
    train.return_value.returncode = 0
    assert compare.run(['--config.seed=0']) == 0
    train.return_value.returncode = 2
    with pytest.raises(DataError, match='pionono in'):
      compare.run([])
  command = train.call_args_list[1].args[0]
  assert command[:3] == [sys.executable, '-m', 'experiments.main']
  assert command[3].endswith('prob_unet.py:phantom') and command[-1] == '--config.seed=0'
  assert (runs / 'comparison.png').read_bytes().startswith(b'\x89PNG')
  saved = json.loads((runs / 'comparison.json').read_text())
  assert np.isclose(saved['changes']['pionono']['ged']['mean'], -0.1, atol=1e-5)
  assert (runs / 'comparison.md').read_text() in capsys.readouterr().out


def test_methods_that_are_not_there(tmp_path):
  for methods in (['pionono'], ['pionono', 'nothing']):
    with flagsaver.flagsaver(methods=methods, workdir=str(tmp_path)):
      with pytest.raises(DataError, match='two or more of'):
        compare.run([])
