"""The table of scores with intervals, its footnotes and a chart a column."""

from html import escape

from multirater_jax.report import figures, html, scores
from multirater_jax.report.part import Part, figure_name
from multirater_jax.report.reading import Run

KEY = ('ged', 'dice_soft', 'dice_match', 'dice_rater', 'dice_rater_gap', 'ece')

BOUNDS = {
  'raters': 'scores each rater against the others',
  'mean field': 'draws every pixel by itself from the votes of the raters, without any shape',
  'oracle': 'scores fresh draws of the process that made the data',
}


def score_table(run: Run) -> Part:
  """Models above, bounds below and apart, main scores first, all others on demand."""
  models, bounds = scores.split_rows(run.summary)
  names = scores.ordered(models + bounds)
  main = [name for name in names if name in scores.COLUMNS] or names
  rest = [name for name in names if name not in main]
  charts = {name: figures.score_intervals(run.summary, name) for name in main}
  body = table(models, bounds, main) + html.notes(footnotes(run, main))
  if rest:
    body += html.details('All other scores', table(models, bounds, rest))
  body += html.details('What the columns mean', glossary(main))
  shown = {name: html.chart(png, interval_text(run.summary, name)) for name, png in charts.items()}
  first = [chart for name, chart in shown.items() if name in KEY] or list(shown.values())
  others = [chart for chart in shown.values() if chart not in first]
  body += '<h3>Means and 95 % intervals</h3>' + html.charts(first)
  if others:
    body += html.details(f'{len(others)} more scores', html.charts(others))
  return Part(body, {figure_name('score', name): png for name, png in charts.items()})


def table(models: list, bounds: list, names: list[str]) -> str:
  """Mean, interval below it, the best model bold, an arrow for the better direction."""
  best = {name: scores.best(models, name) for name in names}
  head = ''.join(_heading(name) for name in names)
  rows = ''.join(_row(row, names, best, '') for row in models)
  rows += ''.join(
    _row(row, names, {}, 'bound first' if place == 0 else 'bound')
    for place, row in enumerate(bounds)
  )
  return html.wide(
    f'<table><thead><tr><th scope="col">model or bound</th>{head}</tr></thead>'
    f'<tbody>{rows}</tbody></table>'
  )


def _heading(name: str) -> str:
  described = scores.column(name)
  hint = escape(scores.WORDS[described.better] or name)
  arrow = scores.ARROWS[described.better]
  return f'<th scope="col" title="{hint}">{escape(described.heading)}&nbsp;{arrow}</th>'


def _row(row: dict, names: list[str], best: dict, css: str) -> str:
  label = str(row.get('label', ''))
  kind = ' <span class="soft">(bound)</span>' if css else ''
  cells = ''.join(_cell(row, name, label in best.get(name, [])) for name in names)
  mark = f' class="{css}"' if css else ''
  return f'<tr{mark}><th scope="row">{escape(label)}{kind}</th>{cells}</tr>'


def _cell(row: dict, name: str, strong: bool) -> str:
  value = scores.text(scores.mean(row, name))
  low, high = (scores.text(end) for end in scores.interval(row, name))
  below = f'<small>{low} to {high}</small>' if (low, high) != ('–', '–') else ''
  return f'<td>{f"<strong>{value}</strong>" if strong else value}{below}</td>'


def footnotes(run: Run, names: list[str]) -> list[str]:
  """What must stand beside the numbers to compare them."""
  summary, rows = run.summary, run.summary.get('rows', [])
  known = (
    ('{} samples an image; GED depends on this number', summary.get('num_samples')),
    ('protocol {}', summary.get('protocol')),
    ('rater order {}', summary.get('rater_order')),
    ('{} units scored', summary.get('units')),
    ('{} cases', summary.get('cases')),
    ('split hash {:.12}', run.split.get('hash')),
    ('data hash {:.12}', run.fingerprint.get('hash')),
  )
  lines = ['; '.join(text.format(str(value)) for text, value in known if value is not None)]
  ends = [end for row in rows for name in names for end in scores.interval(row, name)]
  if any(scores.text(end) != '–' for end in ends):
    lines.append('Small print: 95 % bootstrap interval over cases.')
  else:
    lines.append('No intervals: only plain means over units are known.')
  lines.append(
    'Bold: best model by mean; where intervals overlap, the order may be chance. '
    '↓ lower is better, ↑ higher is better.'
  )
  labels = [row.get('label') for row in rows if row.get('kind') == 'bound']
  if labels:
    meanings = '; '.join(f'{name} {BOUNDS[name]}' for name in labels if name in BOUNDS)
    lines.append(f'Bounds are no models{": " * bool(meanings)}{meanings}.')
  return [line[0].upper() + line[1:] for line in lines if line]


def glossary(names: list[str]) -> str:
  """One line a column."""
  columns = [scores.column(name) for name in names]
  return html.table(
    ('column', 'meaning', 'better'),
    [(item.heading, item.meaning, scores.WORDS[item.better]) for item in columns],
  )


def interval_text(summary: dict, name: str) -> str:
  """The content of an interval chart in words."""
  rows = [row for group in scores.split_rows(summary) for row in group]
  values = '; '.join(f'{row.get("label")} {scores.with_interval(row, name)}' for row in rows)
  return f'{scores.column(name).heading}: {values}.'
