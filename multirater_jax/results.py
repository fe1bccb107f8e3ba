"""The scores of a run: written beside it, recognized by what they were made from, printed."""

import json
from pathlib import Path
from typing import Any

from multirater_jax.experiment import Experiment
from multirater_jax.score_tables import Row, write_tables
from multirater_jax.scoring import units_of


def write_results(experiment: Experiment, rows: list[Row], parameters: dict[str, str]) -> Path:
  """Writes ``evaluation/cases.csv`` and ``evaluation/summary.json``; returns their folder.

  ``parameters`` are the digests of what was evaluated, by stage (``is_evaluated``).
  """
  folder = experiment.workdir / 'evaluation'
  units = units_of(experiment, experiment.records['test'])
  write_tables(
    folder,
    rows,
    [experiment.source.case_names[number] for number in units.case],
    _unit_names(experiment, units),
    split='test',
    rater_order=experiment.source.rater_order,
    **_inputs(experiment, parameters),
  )
  return folder


def _unit_names(experiment: Experiment, units) -> list[str]:
  if units.column == 'case':
    return [experiment.source.case_names[number] for number in units.numbers]
  return [experiment.source.info.records[number]['name'] for number in units.numbers]


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


def score_table(rows: list[dict[str, Any]]) -> str:
  """The short table that ends a run: rows of ``summary.json`` as text."""
  columns = ('ged', 'dice_soft', 'dice_max', 'dice_match', 'dice_rater', 'dice_rater_gap', 'ece')
  lines = [f'{"":24}' + ''.join(f'{name:>15}' for name in columns)]
  for row in rows:
    means = [row['scores'].get(name, {}).get('mean') for name in columns]
    cells = ''.join(f'{"":>15}' if mean is None else f'{mean:>15.4f}' for mean in means)
    lines.append(f'{row["label"]:24}{cells}')
  return '\n'.join(lines)
