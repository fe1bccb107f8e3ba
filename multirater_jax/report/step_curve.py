"""Scores of a diffusion model against the number of its sampler's steps."""

from matplotlib.axes import Axes

from multirater_jax.report import html, scores
from multirater_jax.report.figures import draw
from multirater_jax.report.part import Part
from multirater_jax.report.reading import Run, number
from multirater_jax.report.style import MODELS


def sampler_steps(run: Run) -> Part | None:
  """GED with its interval for every number of steps that was tried."""
  if not run.step_curve:
    return None
  points = [
    (int(line['steps']), *(number(line['ged'].get(key)) for key in ('mean', 'low', 'high')))
    for line in run.step_curve
  ]
  used = next((line['steps'] for line in run.step_curve if line.get('used')), None)
  text = '; '.join(f'{steps} steps: GED {mean:.3f}' for steps, mean, *_ in points)
  body = html.paragraph(
    f'The same {run.step_curve[0].get("records")} test images, sampled in more and in fewer steps; '
    f'all other scores of this report are those of {used} steps.'
  )
  png = curve(points)
  return Part(body + html.charts([html.chart(png, text)]), {'step_curve.png': png})


def curve(points: list[tuple[int, float, float, float]]) -> bytes:
  """Mean and interval over the number of steps, which is drawn on a logarithmic axis."""

  def paint(axes: Axes) -> None:
    steps, mean, low, high = zip(*points, strict=True)
    axes.vlines(steps, low, high, color=MODELS[0], linewidth=2.2)
    axes.plot(steps, mean, 'o-', color=MODELS[0])
    axes.set_xscale('log')
    axes.set_xticks(steps, [str(step) for step in steps])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel('steps of the sampler')
    axes.set_title(f'{scores.column("ged").heading} over steps')

  return draw(paint)
