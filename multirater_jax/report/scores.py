"""What a score means: its heading, better direction, format, the best model and the verdict."""

import math
from typing import NamedTuple

from multirater_jax.report.reading import number


class Column(NamedTuple):
  """Heading, better direction ('lower', 'higher', 'zero' or '') and one line of meaning."""

  heading: str
  better: str
  meaning: str


COLUMNS = {
  'ged': Column(
    'GED', 'lower', 'generalized energy distance between samples and raters; empty pairs agree'
  ),
  'ged_dpersona': Column(
    'GED D\u2011Persona', 'lower', 'the same with two empty masks counted as distance 1'
  ),
  'dice_soft': Column(
    'Dice soft', 'higher', 'mean probability against mean mask, mean over five thresholds'
  ),
  'dice_max': Column('Dice max', 'higher', 'mean of the best rater per sample and the reverse'),
  'dice_match': Column('Dice match', 'higher', 'raters matched one to one with samples'),
  'dice_rater': Column(
    'Dice rater', 'higher', "a rater's personalized output against this rater's own mask"
  ),
  'dice_rater_gap': Column(
    'Dice rater gap', 'higher', 'own rater minus the mean of the other raters; real if above 0'
  ),
  'ece': Column('ECE', 'lower', 'expected calibration error: mean probability against votes'),
  'brier': Column('Brier', 'lower', 'squared error of mean probability against vote fraction'),
  'ncc': Column('NCC', 'higher', 'correlation of the uncertainty of samples and of raters'),
  'hm_iou': Column('HM-IoU', 'higher', 'Hungarian-matched IoU with both sides repeated equally'),
  'hd95': Column('HD95', 'lower', '95th percentile of the border distance (mm if spacing known)'),
}
MAIN = tuple(COLUMNS)
_FAMILIES = (
  ('area_bias', 'zero'),
  ('ci_score', 'higher'),
  ('ged_unbiased', 'lower'),
  ('dice', 'higher'),
  ('hm_iou', 'higher'),
  ('iou', 'higher'),
  ('ncc', 'higher'),
  ('hd95', 'lower'),
  ('ece', 'lower'),
  ('brier', 'lower'),
)
ARROWS = {'lower': '↓', 'higher': '↑', 'zero': '→0', '': ''}
WORDS = {'lower': 'lower is better', 'higher': 'higher is better', 'zero': '0 is best', '': ''}


def column(name: str) -> Column:
  """The description of a score; an unknown one keeps its name and claims no meaning."""
  if name in COLUMNS:
    return COLUMNS[name]
  better = next((better for prefix, better in _FAMILIES if name.startswith(prefix)), '')
  return Column(name.replace('_', ' '), better, '')


def split_rows(summary: dict) -> tuple[list, list]:
  """Rows of models, then rows of bounds."""
  rows = summary.get('rows') or []
  models = [row for row in rows if row.get('kind') != 'bound']
  return models, [row for row in rows if row.get('kind') == 'bound']


def ordered(rows: list) -> list[str]:
  """Score names of the rows: the main columns first, the rest by name."""
  names = {name for row in rows for name in row.get('scores', {})}
  return [name for name in MAIN if name in names] + sorted(names - set(MAIN))


def mean(row: dict, name: str) -> float:
  """Point estimate of a row, nan if it has none."""
  return _part(row, name, 'mean')


def interval(row: dict, name: str) -> tuple[float, float]:
  """The 95 % interval of a row, nan where there is none."""
  return _part(row, name, 'low'), _part(row, name, 'high')


def _part(row: dict, name: str, part: str) -> float:
  score = row.get('scores', {}).get(name)
  if isinstance(score, dict):
    return number(score.get(part))
  return number(score) if part == 'mean' else math.nan


def best(models: list, name: str) -> list[str]:
  """Labels of the best models; none without a direction or without a competitor."""
  rank = {'lower': 1.0, 'higher': -1.0}
  better = column(name).better
  cost = {
    row.get('label', ''): abs(mean(row, name))
    if better == 'zero'
    else rank[better] * mean(row, name)
    for row in models
    if better and math.isfinite(mean(row, name))
  }
  if len(cost) < 2:
    return []
  return [label for label, value in cost.items() if value == min(cost.values())]


def text(value: float) -> str:
  """A number with three decimals, fewer when it is large, a dash when it is missing."""
  if not math.isfinite(value):
    return '–'
  rounded = f'{value:.3f}' if abs(value) < 10 else f'{value:.1f}'
  return rounded.replace('-', '−') if float(rounded) else rounded.lstrip('-')


def with_interval(row: dict, name: str) -> str:
  """Mean and interval in words."""
  low, high = interval(row, name)
  if not (math.isfinite(low) and math.isfinite(high)):
    return text(mean(row, name))
  return f'{text(mean(row, name))} (95 % interval {text(low)} to {text(high)})'


def verdict(summary: dict) -> str:
  """One or two sentences: which model is ahead, where the bounds stand, is personalization real."""
  models, bounds = split_rows(summary)
  return ' '.join(filter(None, (_leader(models, bounds), _personal(models))))


def _leader(models: list, bounds: list) -> str:
  name = next((name for name in ordered(models) if column(name).better in ('lower', 'higher')), '')
  scored = [row for row in models if math.isfinite(mean(row, name))]
  if not scored:
    return 'No model has a score.'
  sign = 1 if column(name).better == 'lower' else -1
  leader = min(scored, key=lambda row: sign * mean(row, name))
  heading = column(name).heading
  claim = f'has the {"lowest" if sign > 0 else "highest"} {heading} of {len(scored)} models'
  verb = claim if len(scored) > 1 else f'reaches a {heading} of'
  joint = ', ' if len(scored) > 1 else ' '
  beside = ', '.join(
    f'{row.get("label")} {text(mean(row, name))}'
    for row in bounds
    if math.isfinite(mean(row, name))
  )
  ending = f'; bounds: {beside}.' if beside else '.'
  return f'{leader.get("label")} {verb}{joint}{with_interval(leader, name)}{ending}'


def _personal(models: list) -> str:
  name = 'dice_rater_gap'
  rows = [row for row in models if math.isfinite(interval(row, name)[0])]
  if not rows:
    return ''
  row = max(rows, key=lambda row: mean(row, name))
  low, high = interval(row, name)
  if low > 0:
    claim = "Personalization shows: an output fits its own rater's mask better than the others'"
  elif high < 0:
    claim = "Personalization misses: an output fits the other raters' masks better than its own"
  else:
    claim = 'Personalization is not shown: the interval of the gap includes 0'
  return f'{claim} (Dice gap {text(mean(row, name))}, {text(low)} to {text(high)}).'
