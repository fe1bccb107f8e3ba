"""The charts of a report, each a small PNG that reads well alone."""

import math
import textwrap
import warnings
from collections.abc import Sequence
from io import BytesIO

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter

from multirater_jax.report import scores
from multirater_jax.report.style import BOUNDS, CHART, DASHES, MODELS


def draw(paint, width: float = 4.4, height: float = 2.7) -> bytes:
  """PNG of one chart; ``paint(axes)`` draws it."""
  with matplotlib.rc_context(CHART):
    figure = Figure(figsize=(width, height), layout='constrained')
    paint(figure.subplots())
    return png(figure)


def png(figure: Figure) -> bytes:
  """PNG of a figure; letters the font lacks become boxes without a warning."""
  buffer = BytesIO()
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='Glyph .* missing')
    figure.savefig(buffer, format='png')
  return buffer.getvalue()


def styles(summary: dict) -> dict[str, dict]:
  """Line style of every row: models in color and solid, bounds gray and broken."""
  models, bounds = scores.split_rows(summary)
  colors = {
    str(row.get('label')): {'color': MODELS[i % len(MODELS)]} for i, row in enumerate(models)
  }
  grays = {
    str(row.get('label')): {'color': BOUNDS[i % 3], 'linestyle': DASHES[i % 3]}
    for i, row in enumerate(bounds)
  }
  return colors | grays


def wrap(label: object, width: int = 22) -> str:
  """A long label on several lines; one that starts with an underscore stays visible."""
  return '\n'.join(textwrap.wrap(str(label), width)[:3]) or ' '


def logarithmic(axes: Axes) -> None:
  """A logarithmic vertical axis with plain numbers."""
  axes.set_yscale('log')
  axes.yaxis.set_major_formatter(LogFormatter())
  axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1, 0.4)))


def learning_curve(records: list, term: str) -> bytes:
  """One logged term over steps, training and validation, stages shaded."""

  def paint(axes: Axes) -> None:
    spans = stage_spans(records)
    for start, end, stage, shaded in spans:
      _shade(axes, (start, end), stage, shaded)
    axes.set_xlim(spans[0][0], max(spans[-1][1], spans[0][0] + 1))
    train, validation = (series(records, kind, term) for kind in ('train', 'validation'))
    _train_line(axes, *train)
    if len(validation[0]):
      axes.plot(*validation, 'o-', color=MODELS[1], markersize=3.5, label='validation')
    if len(train[0]) and len(validation[0]):
      axes.legend(loc='best')
    values = np.concatenate([train[1], validation[1]])
    low, high = np.percentile(values, (2, 98)) if len(values) else (0, 0)
    if values.min(initial=1) > 0 and high > 100 * low:
      logarithmic(axes)
    axes.set_title(scores.column(term).heading, pad=16)
    axes.set_xlabel('step')

  return draw(paint)


def stage_spans(records: list) -> list[tuple[int, int, str, bool]]:
  """First and last step of every stage, in order; every second one is to be shaded."""
  steps: dict = {}
  for record in records:
    steps.setdefault(str(record.get('stage', '')), []).append(record['step'])
  starts = sorted((min(values), stage) for stage, values in steps.items())
  last = max((record['step'] for record in records), default=0)
  ends = [start for start, _ in starts[1:]] + [last]
  pairs = zip(starts, ends, strict=True)
  return [(start, end, stage, i % 2 == 1) for i, ((start, stage), end) in enumerate(pairs)]


def series(records: list, kind: str, term: str) -> tuple[np.ndarray, np.ndarray]:
  """Steps and finite values of a term; of a step logged twice (a resumed run) the later counts."""
  points = {
    record['step']: record[term]
    for record in records
    if record.get('kind') == kind and isinstance(record.get(term), int | float)
  }
  steps = sorted(step for step, value in points.items() if math.isfinite(value))
  return np.array(steps, float), np.array([points[step] for step in steps], float)


def _shade(axes: Axes, span: tuple, stage: str, shaded: bool) -> None:
  if shaded:
    axes.axvspan(*span, color='#e8eef5', zorder=0, linewidth=0)
  middle = (span[0] + span[1]) / 2
  axes.text(
    middle, 1.02, stage[:24], transform=axes.get_xaxis_transform(), ha='center', va='bottom',
    fontsize=7.5, color='#5b636d',
  )  # fmt: skip


def _train_line(axes: Axes, steps: np.ndarray, values: np.ndarray) -> None:
  if len(steps) < 30:
    axes.plot(steps, values, color=MODELS[0], label='training')
    return
  window = max(3, len(values) // 40)
  kernel = np.ones(window)
  smooth = np.convolve(values, kernel, 'same') / np.convolve(np.ones(len(values)), kernel, 'same')
  axes.plot(steps, values, color=MODELS[0], alpha=0.25, linewidth=0.8)
  axes.plot(steps, smooth, color=MODELS[0], label='training (running mean)')


def score_intervals(summary: dict, name: str) -> bytes:
  """Mean and 95 % interval of every row for one score."""
  rows = _rows_with(summary, name)
  return draw(lambda axes: _paint_intervals(axes, summary, name), 4.0, 0.85 + 0.36 * len(rows))


def comparison(summary: dict, names: Sequence[str]) -> bytes:
  """Means and 95 % intervals of several scores side by side."""
  names = [name for name in names if _rows_with(summary, name)]
  across = min(len(names), 3)
  down = -(-len(names) // across)
  height = 0.85 + 0.3 * max(len(_rows_with(summary, name)) for name in names)
  with matplotlib.rc_context(CHART):
    figure = Figure(figsize=(4.0 * across, height * down), layout='constrained')
    places = figure.subplots(down, across, squeeze=False).ravel()
    for axes, name in zip(places, names, strict=False):
      _paint_intervals(axes, summary, name)
    for axes in places[len(names) :]:
      axes.set_axis_off()
    return png(figure)


def _rows_with(summary: dict, name: str) -> list[dict]:
  groups = scores.split_rows(summary)
  return [row for group in groups for row in group if math.isfinite(scores.mean(row, name))]


def _paint_intervals(axes: Axes, summary: dict, name: str) -> None:
  rows, looks = _rows_with(summary, name), styles(summary)
  for place, row in enumerate(rows):
    bound = row.get('kind') == 'bound'
    color = looks[str(row.get('label'))]['color']
    center = scores.mean(row, name)
    low, high = (end if math.isfinite(end) else center for end in scores.interval(row, name))
    axes.hlines(place, low, high, color=color, linewidth=2.2)
    axes.plot(center, place, 'D' if bound else 'o', color=color, mfc='white' if bound else color)
  axes.set_yticks(range(len(rows)), [wrap(row.get('label')) for row in rows])
  axes.set_ylim(len(rows) - 0.4, -0.6)
  axes.locator_params(axis='x', nbins=5)
  described = scores.column(name)
  axes.set_title(f'{described.heading} {scores.ARROWS[described.better]}')


def distribution(cases: dict, name: str, looks: dict) -> bytes:
  """Share of units that score at most x, one line a row."""

  def paint(axes: Axes) -> None:
    for place, (label, table) in enumerate(cases.items()):
      values = np.sort(table[name][np.isfinite(table[name])])
      if not len(values):
        continue
      look = looks.get(label, {'color': MODELS[place % len(MODELS)]})
      axes.ecdf(values, label=wrap(label, 30), **look)
    axes.set_xlabel(f'{scores.column(name).heading} of one unit')
    axes.set_ylabel('share of units at or below')
    axes.set_title(f'{scores.column(name).heading} over the units')
    axes.legend(loc='upper left' if scores.column(name).better == 'higher' else 'lower right')

  return draw(paint, 5.4, 3.6)


def dice_matrix(matrix: Float[np.ndarray, 'r r'], raters: list[str], title: str) -> bytes:
  """Heat map of personalized outputs (rows) against raters' masks (columns), diagonal framed."""
  count = len(matrix)
  low = np.nanmin(matrix) if np.isfinite(matrix).any() else 0.0
  high = np.nanmax(matrix) if np.isfinite(matrix).any() else 1.0

  def paint(axes: Axes) -> None:
    axes.grid(False)
    axes.imshow(matrix, cmap='cividis', vmin=low, vmax=max(high, low + 1e-3))
    for (row, col), value in np.ndenumerate(matrix):
      light = math.isfinite(value) and value < (low + high) / 2
      axes.text(
        col, row, f'{value:.3f}' if math.isfinite(value) else '–', ha='center', va='center',
        color='white' if light else 'black', fontsize=9 if count < 6 else 7,
      )  # fmt: skip
      if row == col:
        axes.add_patch(
          Rectangle(
            (col - 0.47, row - 0.47), 0.94, 0.94, fill=False, edgecolor='#D55E00', linewidth=2.4
          )
        )
    names = [wrap(name, 11) for name in raters]
    axes.set_xticks(range(count), names, fontsize=8)
    axes.set_yticks(range(count), names, fontsize=8)
    axes.set_xlabel('mask of rater')
    axes.set_ylabel('personalized output for rater')
    axes.set_title(wrap(title, 40))

  side = 1.5 + 0.6 * count
  return draw(paint, side + 0.5, side)


def reliability(curves: dict, looks: dict) -> bytes:
  """Share of raters that mark a pixel against the predicted probability."""

  def paint(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color='#8c8c8c', linestyle='--', linewidth=1, label='perfect')
    for place, (label, bins) in enumerate(curves.items()):
      confidence, frequency, count = (
        np.array(bins.get(key) or [], float) for key in ('confidence', 'frequency', 'count')
      )
      shown = np.isfinite(confidence) & np.isfinite(frequency)
      shown &= count > 0 if len(count) == len(shown) else True
      look = looks.get(label, {'color': MODELS[place % len(MODELS)]})
      axes.plot(
        confidence[shown], frequency[shown], marker='o', markersize=4, label=wrap(label, 30), **look
      )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect='equal')
    axes.set_xlabel('mean probability over samples')
    axes.set_ylabel('share of raters that mark the pixel')
    axes.set_title('Reliability')
    axes.legend(loc='upper left')

  return draw(paint, 4.4, 4.4)


def bin_counts(curves: dict, looks: dict) -> bytes:
  """Number of pixels behind every point of the reliability curve."""

  def paint(axes: Axes) -> None:
    for place, (label, bins) in enumerate(curves.items()):
      edges, count = (np.array(bins.get(key) or [], float) for key in ('edges', 'count'))
      if len(edges) == len(count) + 1:
        look = looks.get(label, {'color': MODELS[place % len(MODELS)]})
        axes.stairs(np.maximum(count, 0.5), edges, label=wrap(label, 30), **look)
    logarithmic(axes)
    axes.set_xlabel('mean probability over samples')
    axes.set_ylabel('pixels')
    axes.set_title('Pixels in each bin')
    axes.legend(loc='best')

  return draw(paint, 4.4, 4.4)


def robustness(changes: dict[str, dict[bool, float]], name: str) -> bytes:
  """Change of a score under every condition, with and without the harmonizer."""

  def paint(axes: Axes) -> None:
    for shift, harmonizer, color, hatch in (
      (-0.19, True, '#0072B2', ''),
      (0.19, False, '#E69F00', '//'),
    ):
      values = [pair.get(harmonizer, math.nan) for pair in changes.values()]
      axes.barh(
        np.arange(len(values)) + shift, values, 0.36, color=color, hatch=hatch, edgecolor='white',
        label=f'harmonizer {"on" if harmonizer else "off"}',
      )  # fmt: skip
    axes.axvline(0, color='black', linewidth=0.8)
    axes.set_yticks(range(len(changes)), [wrap(condition) for condition in changes])
    axes.set_ylim(len(changes) - 0.4, -0.6)
    axes.grid(False, axis='y')
    described = scores.column(name)
    axes.set_title(f'{described.heading}: change against clean')
    axes.set_xlabel(scores.WORDS[described.better])
    axes.figure.legend(loc='outside lower center', ncols=2)

  return draw(paint, 4.8, 1.5 + 0.46 * len(changes))
