"""The evaluation's files: one row a unit in cases.csv, means with intervals in summary.json."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from multirater_jax.evaluate import Row
from multirater_jax.experiment import Experiment
from multirater_jax.metrics import bootstrap, dice_matrix
from multirater_jax.metrics.calibration import reliability
from multirater_jax.scoring import units_of
from multirater_jax.workdir import write_json, write_text


def write_results(experiment: Experiment, rows: list[Row], parameters: dict[str, str]) -> Path:
  """Writes ``evaluation/cases.csv`` and ``evaluation/summary.json``; returns their folder.

  ``parameters`` are the digests of what was evaluated, by stage (``is_evaluated``).
  """
  folder = experiment.workdir / 'evaluation'
  units = units_of(experiment, experiment.records['test'])
  cases = [experiment.source.case_names[number] for number in units.case]
  names = _unit_names(experiment, units)
  write_text(folder / 'cases.csv', _cases_csv(rows, cases, names))
  write_json(folder / 'summary.json', _summary(experiment, rows, np.array(cases), parameters))
  return folder


def _unit_names(experiment: Experiment, units) -> list[str]:
  if units.column == 'case':
    return [experiment.source.case_names[number] for number in units.numbers]
  return [experiment.source.info.records[number]['name'] for number in units.numbers]


def _cases_csv(rows: list[Row], cases: list[str], names: list[str]) -> str:
  columns = sorted({name for row in rows for name in row.scores}, key=_order(rows))
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(['row', 'case', 'unit', *columns])
  for row in rows:
    for number, (case, name) in enumerate(zip(cases, names, strict=True)):
      values = [row.scores[c][number] if c in row.scores else np.nan for c in columns]
      cells = ['' if np.isnan(value) else f'{value:.6g}' for value in values]
      writer.writerow([row.label, case, name, *cells])
  return text.getvalue()


def _order(rows: list[Row]):
  """Columns in the order in which the rows first bring them."""
  first = {}
  for row in rows:
    for name in row.scores:
      first.setdefault(name, len(first))
  return first.__getitem__


def is_evaluated(experiment: Experiment, parameters: dict[str, str]) -> bool:
  """Whether ``evaluation/summary.json`` holds the scores of these parameters under this config."""
  path = experiment.workdir / 'evaluation' / 'summary.json'
  if not path.is_file():
    return False
  return _inputs(experiment, parameters).items() <= json.loads(path.read_text()).items()


def _inputs(experiment: Experiment, parameters: dict[str, str]) -> dict[str, Any]:
  options = experiment.config.evaluation
  return {
    'parameters': parameters,
    'num_samples': options.num_samples,
    'protocol': options.protocol,
  }


def _summary(
  experiment: Experiment, rows: list[Row], cases: np.ndarray, parameters: dict[str, str]
) -> dict[str, Any]:
  return {
    'split': 'test',
    **_inputs(experiment, parameters),
    'rater_order': experiment.source.rater_order,
    'units': len(cases),
    'cases': len(set(cases)),
    'rows': [
      {'label': row.label, 'kind': row.kind, 'scores': _intervals(row, cases)} for row in rows
    ],
    'dice_matrix': {row.label: dice_matrix(row.counts) for row in rows if row.personalized},
    'reliability': {
      row.label: reliability(row.counts.calibration)._asdict()
      for row in rows
      if row.kind == 'model'
    },
  }


def _intervals(row: Row, cases: np.ndarray) -> dict[str, Any]:
  values = bootstrap.intervals(row.scores, cases)
  return {name: value._asdict() for name, value in values.items() if np.isfinite(value.mean)}


def score_table(rows: list[dict[str, Any]]) -> str:
  """The short table that ends a run: rows of ``summary.json`` as text."""
  columns = ('ged', 'dice_soft', 'dice_max', 'dice_match', 'dice_rater', 'dice_rater_gap', 'ece')
  lines = [f'{"":24}' + ''.join(f'{name:>15}' for name in columns)]
  for row in rows:
    means = [row['scores'].get(name, {}).get('mean') for name in columns]
    cells = ''.join(f'{"":>15}' if mean is None else f'{mean:>15.4f}' for mean in means)
    lines.append(f'{row["label"]:24}{cells}')
  return '\n'.join(lines)
