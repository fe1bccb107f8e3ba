"""How good outputs are beyond the mean: spread, own and other raters, calibration."""

import numpy as np

from multirater_jax.report import figures, html, scores
from multirater_jax.report.part import Part, figure_name, raters
from multirater_jax.report.reading import Run, number


def distribution(run: Run) -> Part | None:
  """How GED and Dice spread over the units."""
  names = [
    name
    for name in ('ged', 'dice_soft')
    if any(name in table and np.isfinite(table[name]).any() for table in run.cases.values())
  ]
  if not names:
    return None
  looks = figures.styles(run.summary)
  drawn = {}
  for name in names:
    rows = {label: table for label, table in run.cases.items() if name in table}
    drawn[name] = figures.distribution(rows, name, looks)
  body = html.paragraph(
    'Each line shows which share of the units (images or cases) scores at or below a value; '
    'bounds are gray and broken. For GED a line further left is better, for Dice further right.'
  )
  shown = [html.chart(png, spread_text(run, name)) for name, png in drawn.items()]
  return Part(
    body + html.charts(shown, large=True),
    {figure_name('distribution', name): png for name, png in drawn.items()},
  )


def spread_text(run: Run, name: str) -> str:
  """Quartiles of every row in words."""
  parts = []
  for label, table in run.cases.items():
    values = table.get(name, np.array([]))
    if np.isfinite(values).any():
      low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75))
      parts.append(f'{label} median {middle:.3f}, quartiles {low:.3f} and {high:.3f}')
  return f'Distribution of {scores.column(name).heading} over the units: ' + '; '.join(parts) + '.'


def dice_matrices(run: Run) -> Part | None:
  """Personalized outputs against the masks of every rater."""
  matrices = {
    label: np.array([[number(cell) for cell in line] for line in matrix], float)
    for label, matrix in (run.summary.get('dice_matrix') or {}).items()
  }
  if not matrices:
    return None
  drawn, shown = {}, []
  for place, (label, matrix) in enumerate(matrices.items()):
    png = figures.dice_matrix(matrix, raters(run, len(matrix)), label)
    drawn[figure_name('dice_matrix', str(place))] = png
    shown.append(html.chart(png, matrix_text(label, matrix)))
  body = html.paragraph(
    'A row is the output made for one rater, a column the mask of one rater; the frames mark an '
    'output against its own rater. Personalization is real when the framed number is the largest '
    'of its row.'
  )
  body += html.notes(matrix_text(label, matrix) for label, matrix in matrices.items())
  return Part(body + html.charts(shown, large=True), drawn)


def matrix_text(label: str, matrix: np.ndarray) -> str:
  """Own against other raters in words."""
  own = np.diagonal(matrix)
  others = matrix[~np.eye(len(matrix), dtype=bool)]
  if not np.isfinite(own).any() or not np.isfinite(others).any():
    return f'{label}: too few numbers to compare own and other raters.'
  ahead = sum(bool(matrix[i, i] >= np.nanmax(matrix[i])) for i in range(len(matrix)))
  return (
    f'{label}: Dice {np.nanmean(own):.3f} with the own rater, {np.nanmean(others):.3f} with the '
    f'others; {ahead} of {len(matrix)} outputs fit their own rater best.'
  )


def calibration(run: Run) -> Part | None:
  """Reliability curve and the pixels behind it."""
  curves = run.summary.get('reliability') or {}
  if not curves:
    return None
  looks = figures.styles(run.summary)
  drawn = {
    'reliability.png': figures.reliability(curves, looks),
    'reliability_pixels.png': figures.bin_counts(curves, looks),
  }
  body = html.paragraph(
    'On the diagonal a probability means what it says: of the pixels given 0.7, seven of ten '
    'votes of raters are foreground. Below the line the model is too sure, above too careful.'
  )
  alts = (
    'Share of raters that mark a pixel against predicted probability, for '
    + ', '.join(curves)
    + '.',
    'Number of pixels in every bin of probability.',
  )
  shown = [html.chart(png, alt) for png, alt in zip(drawn.values(), alts, strict=True)]
  return Part(body + html.charts(shown, large=True), drawn)
