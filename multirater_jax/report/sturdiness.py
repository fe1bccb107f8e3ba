"""Scores under simulated scanner artifacts, harmonizer on and off."""

import numpy as np

from multirater_jax.report import figures, html, scores
from multirater_jax.report.part import Part, figure_name
from multirater_jax.report.reading import Run, number


def artifacts(run: Run) -> Part | None:
  """Scores under simulated scanner artifacts, harmonizer on and off."""
  if not run.robustness:
    return None
  logged = {name for entry in run.robustness for name in entry.get('scores', {})}
  names = [name for name in scores.MAIN if name in logged]
  changed = {name: changes(run.robustness, name) for name in names}
  drawn = {
    name: figures.robustness(change, name)
    for name, change in changed.items()
    if change and name in ('ged', 'dice_soft', 'dice_match', 'dice_rater')
  }
  body = html.paragraph(
    'Bars show how far a score moves from the clean images when an artifact is added, with the '
    'harmonizer on and off. A shorter bar is a sturdier model.'
  )
  shown = [html.chart(png, change_text(changed[name], name)) for name, png in drawn.items()]
  body += html.charts(shown, large=True) + html.details('Scores', robustness_table(run, names))
  return Part(body, {figure_name('robustness', name): png for name, png in drawn.items()})


def changes(entries: list, name: str) -> dict[str, dict[bool, float]]:
  """Score minus the clean score of the same harmonizer setting, per condition."""
  values = {
    (str(entry.get('condition')), bool(entry.get('harmonizer'))): number(
      entry.get('scores', {}).get(name)
    )
    for entry in entries
  }
  moved: dict = {}
  for (condition, harmonizer), value in values.items():
    clean = values.get(('clean', harmonizer), np.nan)
    if condition != 'clean' and np.isfinite(value - clean):
      moved.setdefault(condition, {})[harmonizer] = value - clean
  return moved


def change_text(changed: dict, name: str) -> str:
  """The robustness chart in words."""
  parts = [
    f'{condition}: '
    + ', '.join(f'{value:+.3f} harmonizer {"on" if on else "off"}' for on, value in pair.items())
    for condition, pair in changed.items()
  ]
  return f'Change of {scores.column(name).heading} against clean images. ' + '; '.join(parts) + '.'


def robustness_table(run: Run, names: list[str]) -> str:
  """All numbers of the robustness test."""
  return html.table(
    ('condition', 'harmonizer', *(scores.column(name).heading for name in names)),
    [
      (
        str(entry.get('condition')),
        'on' if entry.get('harmonizer') else 'off',
        *(scores.text(number(entry.get('scores', {}).get(name))) for name in names),
      )
      for entry in run.robustness
    ],
  )
