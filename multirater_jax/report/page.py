"""Puts a report together: reads the run, makes every section, writes all files in one go."""

import os
from datetime import UTC, datetime
from pathlib import Path

from multirater_jax.report import (
  cases,
  gallery,
  html,
  provenance,
  quality,
  scores,
  sturdiness,
  training,
)
from multirater_jax.report.card import card
from multirater_jax.report.part import identity_warning
from multirater_jax.report.reading import Run, read_run
from multirater_jax.report.score_table import score_table
from multirater_jax.report.step_curve import sampler_steps

SECTIONS = (
  ('Scores', '', score_table),
  ('Panels', 'evaluation/panels.npz is absent', gallery.pictures),
  ('Personalization', 'no personalized output was scored', quality.dice_matrices),
  ('Distribution over units', 'evaluation/cases.csv is absent', quality.distribution),
  ('Calibration', 'no reliability curve in evaluation/summary.json', quality.calibration),
  (
    'Robustness',
    'evaluation/robustness.json is absent (methods with a harmonizer only)',
    sturdiness.artifacts,
  ),
  (
    'Steps of the sampler',
    'evaluation/step_curve.json is absent (diffusion methods only)',
    sampler_steps,
  ),
  ('Learning curves', 'metrics.jsonl is absent', training.learning),
  ('Data', 'split.json and fingerprint.json are absent', provenance.data),
  ('Environment', 'environment.json is absent', provenance.environment),
  ('Configuration', 'config.json is absent', provenance.configuration),
)


def write(workdir: str | os.PathLike) -> Path:
  """Writes ``report.html``, ``model_card.md``, figures and case pages, from a run's files.

  The page stands alone: figures are inside it and it loads nothing. Every part but the scores is
  optional; the page names what is missing. The same files give the same page. A report that is
  already there stays whole until the new one replaces it; figures of an older report go.
  Raises ValueError when there are neither ``evaluation/summary.json`` nor ``evaluation/cases.csv``,
  or when a file is damaged.
  """
  workdir = Path(workdir)
  run = read_run(workdir)
  bodies, figures, absent = {}, {}, []
  for title, source, make in SECTIONS:
    part = make(run)
    if part is None:
      absent.append(f'{title}: {source}.')
      continue
    bodies[title] = part.body
    figures |= part.figures
  if absent:
    bodies['Not in this report'] = html.notes(absent)
  document = html.page(f'Report: {run.name}', header(run), bodies, footer(run))
  _write_figures(workdir / 'report', figures)
  cases.write(workdir / 'report', run)
  replace(workdir / 'model_card.md', card(run).encode())
  replace(workdir / 'report.html', document.encode())
  return workdir / 'report.html'


def header(run: Run) -> str:
  """What a reader must know before the numbers: date, data, verdict, warning."""
  facts = [f'scored {datetime.fromtimestamp(run.modified, UTC):%Y-%m-%d %H:%M} UTC']
  facts += [
    f'{label} {value}'
    for label, value in (
      ('data set', run.fingerprint.get('name')),
      ('split', run.summary.get('split')),
      ('units', run.summary.get('units')),
      ('cases', run.summary.get('cases')),
      ('samples an image', run.summary.get('num_samples')),
    )
    if value is not None
  ]
  return (
    html.paragraph(' · '.join(facts), 'soft')
    + html.paragraph(scores.verdict(run.summary), 'verdict')
    + html.paragraph(identity_warning(run), 'warning') * bool(identity_warning(run))
  )


def footer(run: Run) -> str:
  """Where the page comes from."""
  return html.paragraph(f'Made by multirater_jax from the files of run {run.name}.', 'soft')


def replace(path: Path, content: bytes) -> None:
  """Writes a file so that it is either the old or the new one, never a part."""
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    temporary.write_bytes(content)
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def _write_figures(folder: Path, figures: dict[str, bytes]) -> None:
  folder.mkdir(exist_ok=True)
  for name, content in figures.items():
    replace(folder / name, content)
  for old in folder.glob('*.png'):
    if old.name not in figures:
      old.unlink()
