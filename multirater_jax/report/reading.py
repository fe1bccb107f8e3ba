"""Reads the files of a work directory; every file but the scores may be absent."""

import csv
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

CaseScores = dict[str, dict[str, np.ndarray]]  # row label -> score -> one number a unit


class Run(NamedTuple):
  """What a work directory holds; an absent file leaves its field empty."""

  name: str
  summary: dict
  cases: CaseScores
  metrics: list
  panels: dict
  robustness: list
  step_curve: list
  fingerprint: dict
  split: dict
  environment: dict
  config: dict
  modified: float  # seconds since 1970 of the newest score file


def read_run(workdir: Path) -> Run:
  """Reads everything a report can show.

  Raises ValueError when the scores are missing or a file is damaged.
  """
  evaluation = workdir / 'evaluation'
  sources = [evaluation / 'summary.json', evaluation / 'cases.csv']
  present = [path for path in sources if path.is_file()]
  if not present:
    raise ValueError(
      f'There is nothing to report in {workdir}: neither evaluation/summary.json nor '
      'evaluation/cases.csv exists; evaluate the run first.'
    )
  cases = read_cases(sources[1])
  return Run(
    name=workdir.resolve().name,
    summary=read_json(sources[0], {}) or summary_of_cases(cases),
    cases=cases,
    metrics=read_lines(workdir / 'metrics.jsonl'),
    panels=read_arrays(evaluation / 'panels.npz'),
    robustness=read_json(evaluation / 'robustness.json', []),
    step_curve=read_json(evaluation / 'step_curve.json', []),
    fingerprint=read_json(workdir / 'fingerprint.json', {}),
    split=read_json(workdir / 'split.json', {}),
    environment=read_json(workdir / 'environment.json', {}),
    config=read_json(workdir / 'config.json', {}),
    modified=max(path.stat().st_mtime for path in present),
  )


def read_json(path: Path, absent: dict | list) -> dict | list:
  """The content of a JSON file, which must be of the type of ``absent``."""
  if not path.is_file():
    return absent
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path} is not valid JSON ({error}); write it again.') from error
  if not isinstance(content, type(absent)):
    kind = 'an object' if isinstance(absent, dict) else 'a list'
    raise ValueError(f'{path} must hold {kind}, not {type(content).__name__}; write it again.')
  return content


def read_lines(path: Path) -> list:
  """The JSON objects of a log; a line cut off by a killed process is passed over."""
  if not path.is_file():
    return []
  records = []
  for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
    try:
      record = json.loads(line)
    except ValueError:
      continue
    if isinstance(record, dict) and 'step' in record:
      records.append(record)
  return records


def read_arrays(path: Path) -> dict:
  """The arrays of an npz file; pickled content is refused."""
  if not path.is_file():
    return {}
  try:
    with np.load(path, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
  except (ValueError, OSError, EOFError) as error:
    raise ValueError(f'{path} cannot be read ({error}); evaluate the run again.') from error


def read_cases(path: Path) -> CaseScores:
  """One array a row label and score; a cell that is empty or no number is nan."""
  if not path.is_file():
    return {}
  with path.open(newline='', encoding='utf-8') as file:
    reader = csv.DictReader(file)
    columns = [name for name in reader.fieldnames or [] if name not in ('row', 'case', 'unit')]
    if 'row' not in (reader.fieldnames or []):
      raise ValueError(f'{path} has no column "row"; its first line must name the columns.')
    cells: dict = {}
    for line in reader:
      scores = cells.setdefault(line['row'], {name: [] for name in columns})
      for name in columns:
        scores[name].append(number(line[name]))
  return {
    label: {name: np.array(values, float) for name, values in scores.items()}
    for label, scores in cells.items()
  }


def number(value: object) -> float:
  """A float, or nan for anything that is none."""
  try:
    return float(value)  # type: ignore[arg-type]
  except (TypeError, ValueError):
    return math.nan


def summary_of_cases(cases: CaseScores) -> dict:
  """Plain means over units, without intervals, where only the table of cases exists."""
  rows = [
    {
      'label': label,
      'kind': 'model',
      'scores': {
        name: {'mean': float(np.nanmean(values))}
        for name, values in scores.items()
        if np.isfinite(values).any()
      },
    }
    for label, scores in cases.items()
  ]
  return {'rows': rows}
