"""A page to look through one image or volume: every rater, sample and mixture, with uncertainty."""

import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from multirater_jax.report import html, page
from multirater_jax.report.outlines import polygons
from multirater_jax.report.style import RATERS

_WINDOW = (0.5, 99.8)  # percentiles that are black and white at first


class Mix(NamedTuple):
  """Masks on the way from one manner to another, the ends included."""

  start: str
  end: str
  masks: UInt8[np.ndarray, 'm d h w']


class Explored(NamedTuple):
  """What the page shows."""

  title: str
  planes: Shaped[np.ndarray, 'd h w c']
  raters: Mapping[str, UInt8[np.ndarray, 'd h w']]  # outputs in the manner of each
  samples: UInt8[np.ndarray, 's d h w']
  consensus: Float[np.ndarray, 'd h w']
  entropy: Float[np.ndarray, 'd h w']
  disagreement: Float[np.ndarray, 'd h w']
  num_classes: int
  aspect: float = 1.0  # height of a pixel over its width
  mix: Mix | None = None
  facts: Sequence[tuple[str, str]] = ()  # rows of a table
  flags: Sequence[str] = ()
  drawn: Mapping[str, UInt8[np.ndarray, 'd h w']] = {}  # masks that raters drew, in broken lines


def write(path: Path, shown: Explored) -> None:
  """Writes the page, all or nothing; it stands alone and loads nothing.

  Outlines are those of all foreground classes together.
  """
  page.replace(path, _document(shown).encode())


def _document(shown: Explored) -> str:
  content = json.dumps(_content(shown), separators=(',', ':')).replace('<', '\\u003c')
  folder = resources.files('multirater_jax.report')
  style, script = ((folder / f'explorer.{kind}').read_text('utf-8') for kind in ('css', 'js'))
  policy = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
  )
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{escape(shown.title)}</title><style>{style}</style></head><body>'
    f'<header><h1>{escape(shown.title)}</h1><p id="status" role="status"></p></header>'
    '<canvas id="view" role="img" aria-label="The image with outlines"></canvas>'
    f'<aside>{_controls(shown)}</aside>'
    f'<script type="application/json" id="data">{content}</script>'
    f'<script>{script}</script></body></html>\n'
  )


def _content(shown: Explored) -> dict[str, Any]:
  """What the script reads."""
  planes = _bytes(shown.planes)
  tops = {
    'consensus': (1.0, ''),
    'entropy': (float(np.log(shown.num_classes)), 'nats'),
    'disagreement': (0.25, ''),
  }
  return {
    'size': list(shown.planes.shape[1:3]),
    'aspect': shown.aspect,
    'planes': [_encoded(plane) for plane in planes],
    'window': [int(v) for v in np.percentile(planes, _WINDOW).round()],
    'layers': [
      {'color': layer.color, 'dash': layer.dash, 'outlines': _outlines(layer.masks)}
      for layer in _layers(shown)
    ],
    'samples': [_outlines(masks) for masks in shown.samples],
    'mix': shown.mix and _mixture(shown.mix),
    'maps': {
      name: {'top': top, 'unit': unit, 'planes': [_level(p / top) for p in getattr(shown, name)]}
      for name, (top, unit) in tops.items()
    },
  }


class _Layer(NamedTuple):
  """Outlines that one switch shows."""

  name: str
  masks: UInt8[np.ndarray, 'd h w']
  color: str
  dash: list[int]


def _layers(shown: Explored) -> list[_Layer]:
  """A rater has one color; what they drew themselves is broken."""
  names = list(dict.fromkeys([*shown.raters, *shown.drawn]))
  color = {name: RATERS[number % len(RATERS)] for number, name in enumerate(names)}
  return [
    _Layer(name, masks, color[name], dash)
    for group, dash in ((shown.raters, []), (shown.drawn, [5, 4]))
    for name, masks in group.items()
  ]


def _mixture(mix: Mix) -> dict[str, Any]:
  shares = np.linspace(0, 1, len(mix.masks))
  steps = [
    {'share': float(share), 'outlines': _outlines(masks)}
    for share, masks in zip(shares, mix.masks, strict=True)
  ]
  return {'from': mix.start, 'to': mix.end, 'steps': steps}


def _outlines(masks: UInt8[np.ndarray, 'd h w']) -> list[list[list[int]]]:
  """Polygons of every slice as flat lists x, y, x, y ..."""
  return [
    [[int(n) for point in polygon for n in point] for polygon in polygons(mask > 0)]
    for mask in masks
  ]


def _bytes(planes: Shaped[np.ndarray, 'd h w c']) -> UInt8[np.ndarray, 'd h w ...']:
  """8 bit: integers by the range of their type, others by their own range; gray or three colors."""
  if planes.dtype == np.uint16:
    shown = (planes >> 8).astype(np.uint8)
  elif planes.dtype == np.uint8:
    shown = planes
  else:
    low, high = float(planes.min()), float(planes.max())
    shown = (255 * (planes - low) / max(high - low, 1e-12)).round().astype(np.uint8)
  return shown if shown.shape[-1] == 3 else shown[..., 0]


def _level(share: Float[np.ndarray, 'h w']) -> str:
  return _encoded((255 * np.clip(share, 0, 1)).round().astype(np.uint8))


def _encoded(pixels: UInt8[np.ndarray, '...']) -> str:
  buffer = io.BytesIO()
  Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, 'png')
  return html.data_uri(buffer.getvalue())


def _controls(shown: Explored) -> str:
  parts = [
    '<h2>Image</h2>',
    _slider('slice', 'slice') if len(shown.planes) > 1 else '',
    _slider('low', 'black') + _slider('high', 'white'),
    _boxes('In the manner of', shown, 0, len(shown.raters)),
    _boxes('Drawn by', shown, len(shown.raters), None),
    '<h2>Samples</h2>' + _slider('sample', 'sample'),
    _mix_control(shown.mix) if shown.mix else '',
    '<h2>Uncertainty</h2><label><span>layer</span><select id="overlay">'
    + ''.join(f'<option>{n}</option>' for n in ('none', 'entropy', 'disagreement', 'consensus'))
    + '</select></label>'
    + _slider('threshold', 'at least'),
    _facts(shown),
    html.notes(shown.flags),
    _keys(shown),
  ]
  return ''.join(parts)


def _slider(name: str, label: str) -> str:
  return f'<label><span>{label}</span><input type="range" id="{name}" min="0" value="0"></label>'


def _boxes(title: str, shown: Explored, first: int, end: int | None) -> str:
  """Switches of some of the layers, under a heading."""
  boxes = ''.join(
    f'<label class="layer"><input type="checkbox" id="layer-{number}"{_checked(shown, number)}>'
    f'<span class="swatch{" dashed" if layer.dash else ""}" style="border-color:{layer.color}">'
    f'</span><span>{escape(layer.name)}</span></label>'
    for number, layer in list(enumerate(_layers(shown)))[first:end]
  )
  return f'<h2>{title}</h2>{boxes}' if boxes else ''


def _checked(shown: Explored, number: int) -> str:
  """Both kinds of outlines at once hide the image: where there are outputs, they come first."""
  return ' checked' if number < (len(shown.raters) or len(shown.drawn)) else ''


def _mix_control(mix: Mix) -> str:
  return f'<h2>From {escape(mix.start)} to {escape(mix.end)}</h2>' + _slider('mix', 'mixture')


def _facts(shown: Explored) -> str:
  rows = ''.join(f'<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>' for a, b in shown.facts)
  return f'<h2>Numbers</h2><table>{rows}</table>' if rows else ''


def _keys(shown: Explored) -> str:
  keys = [
    ('1 …' if len(_layers(shown)) > 1 else '1', 'outline on and off'),
    ('← →', 'sample'),
    *([('↑ ↓', 'slice')] if len(shown.planes) > 1 else []),
    *([(', .', 'mixture')] if shown.mix else []),
    ('u', 'uncertainty'),
    ('+ − 0', 'zoom'),
  ]
  listed = ', '.join(f'<kbd>{key}</kbd> {what}' for key, what in keys)
  return f'<h2>Keys</h2><p class="keys">{listed}; drag to move, wheel to zoom.</p>'
