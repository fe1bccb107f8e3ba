"""Finished runs on one data set beside each other: one row a method, differences in pairs."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from multirater_jax.data.errors import DataError
from multirater_jax.metrics import bootstrap

SAMPLED = ('ged', 'dice_soft', 'dice_max', 'dice_match', 'ece', 'brier')  # of samples
PERSONAL = ('dice_rater', 'dice_rater_gap')  # of personalized outputs
COLUMNS = (*SAMPLED, *PERSONAL)


class Run(NamedTuple):
  """The scores of a finished run; a verb its method lacks has no row."""

  method: str
  summary: dict[str, Any]
  cases: list[str]  # of every unit
  units: list[str]
  scores: dict[str, np.ndarray]  # column -> [units], of ``COLUMNS``


def read_run(workdir: Path) -> Run:
  """Reads an evaluated run.

  Raises DataError where there is none.
  """
  try:
    config = json.loads((workdir / 'config.json').read_text())
    summary = json.loads((workdir / 'evaluation' / 'summary.json').read_text())
    with (workdir / 'evaluation' / 'cases.csv').open() as file:
      lines = list(csv.DictReader(file))
  except (OSError, ValueError) as error:
    raise DataError(f'{workdir} holds no evaluated run ({error}); run it to its end.') from error
  labels = _labels(summary)
  first = [line for line in lines if line['row'] == lines[0]['row']]
  scores = {}
  for verb, columns in (('sample', SAMPLED), ('personalize', PERSONAL)):
    chosen = [line for line in lines if line['row'] == labels.get(verb)]
    for name in columns if chosen else ():
      scores[name] = np.array([float(line[name] or 'nan') for line in chosen])
  cases, units = ([line[key] for line in first] for key in ('case', 'unit'))
  return Run(config['method'], summary, cases, units, scores)


def _labels(summary: Mapping[str, Any]) -> dict[str, str]:
  """The row that shows each verb: personalized rows have a Dice matrix; of several the last."""
  models = [row['label'] for row in summary['rows'] if row['kind'] == 'model']
  personal = [label for label in models if label in summary['dice_matrix']]
  sampled = [label for label in models if label not in personal]
  return {
    verb: labels[-1] for verb, labels in (('sample', sampled), ('personalize', personal)) if labels
  }


def table(runs: Sequence[Run]) -> dict[str, Any]:
  """A summary with a row a method, and the bounds of the first run.

  Raises DataError where the runs were not scored on the same units.
  """
  for run in runs[1:]:
    if (run.units, run.cases) != (runs[0].units, runs[0].cases):
      raise DataError(
        f'The runs of {runs[0].method} and {run.method} were scored on different images; give '
        'all runs the same data and config.data.split.'
      )
  rows = [
    {
      'label': run.method,
      'kind': 'model',
      'scores': {
        name: bootstrap.interval(values, np.array(run.cases))._asdict()
        for name, values in run.scores.items()
      },
    }
    for run in runs
  ]
  bounds = [row for row in runs[0].summary['rows'] if row['kind'] == 'bound']
  return {'rows': rows + bounds, 'units': len(runs[0].units), 'cases': len(set(runs[0].cases))}


def differences(runs: Sequence[Run], reference: str) -> dict[str, dict[str, Any]]:
  """Of every other method minus ``reference``, paired by unit: column -> difference, p-value."""
  base = next(run for run in runs if run.method == reference)
  return {
    run.method: {
      name: bootstrap.paired_difference(values, base.scores[name], np.array(run.cases))._asdict()
      for name, values in run.scores.items()
      if name in base.scores
    }
    for run in runs
    if run.method != reference
  }


def markdown(summary: Mapping[str, Any], changes: Mapping[str, Any], reference: str) -> str:
  """The table as text: mean (95 % interval) and, of GED, the difference to the reference."""
  head = ['method', *COLUMNS, f'GED minus {reference}']
  lines = ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|']
  for row in summary['rows']:
    cells = [_cell(row['scores'].get(name)) for name in COLUMNS]
    change = changes.get(row['label'], {}).get('ged')
    text = f'{_cell(change)}, p {change["p_value"]:.2g}' if change else ''
    lines.append('| ' + ' | '.join([row['label'], *cells, text]) + ' |')
  return '\n'.join(lines) + '\n'


def _cell(value: Mapping[str, float] | None) -> str:
  return f'{value["mean"]:.3f} ({value["low"]:.3f} to {value["high"]:.3f})' if value else ''
