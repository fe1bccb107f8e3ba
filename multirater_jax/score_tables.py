"""Scores as files: one line a unit in cases.csv, means with intervals in summary.json."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from multirater_jax.metrics import Counts, bootstrap, dice_matrix
from multirater_jax.metrics.calibration import reliability
from multirater_jax.workdir import write_json, write_text


class Row(NamedTuple):
  """One row of the table: something scored on every unit."""

  label: str
  kind: str  # 'model' or 'bound'
  scores: Mapping[str, np.ndarray]  # [units] each, NaN where undefined
  counts: Counts | None = None  # of the samples, for the reliability curve
  personalized: Counts | None = None  # of one output a rater, for the Dice matrix


def write_tables(
  folder: str | os.PathLike,
  rows: Sequence[Row],
  cases: Sequence[str],
  units: Sequence[str],
  **facts,
) -> dict[str, Any]:
  """Writes ``cases.csv`` and ``summary.json`` into a folder; returns the summary.

  ``cases`` and ``units`` name the case and the unit of every score, ``facts`` go to the summary.
  """
  folder = Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  summary = facts | {
    'units': len(units),
    'cases': len(set(cases)),
    'rows': [
      {'label': row.label, 'kind': row.kind, 'scores': _intervals(row, np.array(cases))}
      for row in rows
    ],
    'dice_matrix': {row.label: dice_matrix(row.personalized) for row in rows if row.personalized},
    'reliability': {
      row.label: reliability(row.counts.calibration)._asdict() for row in rows if row.counts
    },
  }
  write_text(folder / 'cases.csv', _lines(rows, cases, units))
  write_json(folder / 'summary.json', summary)
  return summary


def _intervals(row: Row, cases: np.ndarray) -> dict[str, Any]:
  found = bootstrap.intervals(row.scores, cases)
  return {name: value._asdict() for name, value in found.items() if np.isfinite(value.mean)}


def _lines(rows: Sequence[Row], cases: Sequence[str], units: Sequence[str]) -> str:
  columns = list(dict.fromkeys(name for row in rows for name in row.scores))
  nothing = np.full(len(units), np.nan)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(['row', 'case', 'unit', *columns])
  for row in rows:
    values = [row.scores.get(name, nothing) for name in columns]
    for case, unit, *cells in zip(cases, units, *values, strict=True):
      writer.writerow([row.label, case, unit, *('' if np.isnan(c) else f'{c:.6g}' for c in cells)])
  return text.getvalue()
