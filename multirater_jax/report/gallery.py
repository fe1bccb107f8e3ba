"""The section of picture panels: typical, best and worst images."""

from html import escape

from multirater_jax.report import cases, html, panels, tiles
from multirater_jax.report.part import Part, figure_name, raters
from multirater_jax.report.reading import Run

_KINDS = (('typical', 'Typical images'), ('best', 'Best by GED'), ('worst', 'Worst by GED'))


def pictures(run: Run) -> Part | None:
  """The panels: typical, best and worst images."""
  if 'image' not in run.panels:
    return None
  names = raters(run, run.panels['masks'].shape[1])
  shown = panels.panels(run.panels, names)
  body = legend(names, 'personalized' in run.panels)
  for kind, title in (*_KINDS, ('', 'Further images')):
    chosen = [
      (number, panel)
      for number, panel in enumerate(shown)
      if panel.kind == kind or (not kind and panel.kind not in dict(_KINDS))
    ]
    if chosen:
      body += f'<h3>{title}</h3>'
      body += ''.join(_article(run, number, panel) for number, panel in chosen)
  files = {
    figure_name('panel', f'{place:02d}', panel.kind or 'image'): tiles.picture(panel)
    for place, panel in enumerate(shown)
  }
  return Part(body, files)


def _article(run: Run, number: int, panel: tiles.Panel) -> str:
  """A panel, with the way to its page where there is one."""
  address = f'report/{cases.name_of(number)}'
  link = f'<p class="soft"><a href="{address}">look through this image</a></p>'
  return tiles.markup(panel, f'panel{number}', link if cases.is_explored(run) else '')


def legend(names: list[str], personalized: bool) -> str:
  """Colors and lines of the panels."""
  swatches = ''.join(
    f'<span><span class="swatch" style="background:{panels.color_of(i)}"></span>'
    f'{escape(name)}</span>'
    for i, name in enumerate(names)
  )
  ramp = (
    '<span class="swatch ramp" style="background:linear-gradient(90deg,#000004,#51127c,#b73779,'
    '#fc8961,#fcfdbf)"></span>'
  )
  lines = [
    f'Entropy of the consensus runs from 0 (black) to {panels.ENTROPY:.2f} nats (yellow), '
    f'disagreement (variance between samples) from 0 to {panels.VARIANCE}.',
    'Yellow lines: samples and consensus. Lines follow pixel borders; further classes are dashed.',
    'Where contours coincide, the wider line below belongs to the rater named earlier.',
  ]
  if personalized:
    lines.insert(
      0, 'Personalized outputs: the area is the mask the rater drew, the line is the output.'
    )
  return f'<div class="key">{swatches}<span>{ramp}uncertainty</span></div>' + html.notes(lines)
