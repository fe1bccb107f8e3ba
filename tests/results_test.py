import csv
import json

import numpy as np
import pytest
import small_run

from multirater_jax.results import is_evaluated, score_table, write_results
from multirater_jax.score_tables import Row

PARAMETERS = {'one': 'aa', 'two': 'bb'}


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  return small_run.prepare_images(tmp_path_factory.mktemp('set'))


@pytest.fixture
def opened(directory, tmp_path, monkeypatch):
  (tmp_path / 'evaluation').mkdir()
  return lambda **changes: small_run.open_small(directory, tmp_path, monkeypatch, **changes)


def rows_of(units):
  ged = np.arange(units) / 10.0
  return [
    Row('stage 1: one', 'model', {'ged': ged, 'hd95': np.full(units, np.nan)}),
    Row('raters', 'bound', {'ged': np.where(ged > 0, ged, np.nan)}),
  ]


@pytest.mark.parametrize(('score_by', 'units'), [('image', 15), ('case', 5)])
def test_files_name_every_unit_and_its_case(opened, score_by, units):
  experiment = opened(data__score_by=score_by)
  folder = write_results(experiment, rows_of(units), PARAMETERS)
  with (folder / 'cases.csv').open() as file:
    lines = list(csv.DictReader(file))
  assert [line['row'] for line in lines] == ['stage 1: one'] * units + ['raters'] * units
  assert [line['ged'] for line in lines[:3]] == ['0', '0.1', '0.2'] and lines[units]['ged'] == ''
  info = experiment.source.info
  if score_by == 'image':
    names = [(record['case'], record['name']) for record in info.records]
  else:
    names = [(f'p{number}', f'p{number}') for number in range(5)]
  assert [(line['case'], line['unit']) for line in lines[:units]] == names
  summary = json.loads((folder / 'summary.json').read_text())
  assert (summary['units'], summary['cases'], summary['split']) == (units, 5, 'test')
  assert list(summary['rows'][0]['scores']) == ['ged']  # nothing is known of hd95
  assert summary['rows'][0]['scores']['ged']['mean'] == pytest.approx(
    np.mean(np.arange(units)) / 10
  )


def test_scores_belong_to_parameters_and_settings(opened):
  experiment = opened()
  assert not is_evaluated(experiment, PARAMETERS)
  write_results(experiment, rows_of(15), PARAMETERS)
  assert is_evaluated(experiment, PARAMETERS)
  assert is_evaluated(opened(evaluation__panels=3), PARAMETERS)
  assert not is_evaluated(experiment, PARAMETERS | {'two': 'cc'})
  assert not is_evaluated(opened(evaluation__num_samples=5), PARAMETERS)
  assert not is_evaluated(opened(evaluation__protocol='dpersona'), PARAMETERS)


def test_the_printed_table_leaves_gaps():
  rows = [
    {'label': 'stage 1: one', 'scores': {'ged': {'mean': 0.25}, 'ece': {'mean': 0.5}}},
    {'label': 'raters', 'scores': {'ged': {'mean': 0.125}}},
  ]
  header, first, second = score_table(rows).splitlines()
  assert header.split()[0] == 'ged' and header.split()[-1] == 'ece'
  assert first.split() == ['stage', '1:', 'one', '0.2500', '0.5000']
  assert second.split() == ['raters', '0.1250']
  assert header.index('ged') + 3 == first.index('0.2500') + 6
