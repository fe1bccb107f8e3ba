"""The course of training: every logged term over steps."""

from multirater_jax.report import figures, html, scores
from multirater_jax.report.part import Part, figure_name
from multirater_jax.report.reading import Run

_NOT_TERMS = ('kind', 'stage', 'step', 'time')
_SPEED = ('images_per_second', 'outputs_per_second', 'data_wait_share')


def learning(run: Run) -> Part | None:
  """Every logged term over steps, then speed."""
  if not run.metrics:
    return None
  names = terms(run.metrics)
  drawn = {name: figures.learning_curve(run.metrics, name) for name in names}
  stages = [stage for *_, stage, _ in figures.stage_spans(run.metrics)]
  last = max(record['step'] for record in run.metrics)
  body = html.paragraph(
    f'Steps 0 to {last} over {len(stages)} stage{"s" * (len(stages) != 1)} '
    f'({", ".join(stages)}); every second stage is shaded.'
  )
  first = [html.chart(drawn[name], curve_text(run.metrics, name)) for name in names[:6]]
  others = [html.chart(drawn[name], curve_text(run.metrics, name)) for name in names[6:]]
  body += html.charts(first)
  if others:
    body += html.details(f'{len(others)} more curves', html.charts(others))
  return Part(body, {figure_name('curve', name): png for name, png in drawn.items()})


def terms(records: list) -> list[str]:
  """Logged numbers in the order of interest: loss, main scores, speed, then every other term."""
  logged = {
    key
    for record in records
    for key, value in record.items()
    if key not in _NOT_TERMS and isinstance(value, int | float) and not isinstance(value, bool)
  }
  first = [name for name in ('loss', 'ged', 'dice_soft', 'dice_rater', *_SPEED) if name in logged]
  middle = [name for name in scores.MAIN if name in logged and name not in first]
  return first + middle + sorted(logged - set(first) - set(middle))


def curve_text(records: list, term: str) -> str:
  """First and last value of a curve in words."""
  parts = []
  for kind, word in (('train', 'training'), ('validation', 'validation')):
    _, values = figures.series(records, kind, term)
    if len(values):
      parts.append(f'{word} from {values[0]:.4g} to {values[-1]:.4g}')
  return f'{scores.column(term).heading} over steps: ' + '; '.join(parts) + '.'
