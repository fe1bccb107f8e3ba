"""The fingerprint of the data set: what the records are like and how the raters differ."""

import math
from collections.abc import Sequence

from multirater_jax.report import html
from multirater_jax.report.reading import number

_TABLES = (
  'version', 'dice', 'intensity', 'personalization', 'rater_effect', 'rater_statistics',
  'records_by_raters', 'size', 'spacing',
)  # fmt: skip
_TRAITS = {'area': 'log area', 'compactness': 'log compactness', 'roughness': 'roughness'}
_COLUMNS = {
  'annotated': 'images drawn on',
  'empty': 'empty masks',
  'area': 'area (pixels)',
  'area_ratio': 'area against the image’s mean',
  'compactness': 'compactness',
  'roughness': 'roughness',
  'pieces': 'pieces',
}


def split_facts(fingerprint: dict) -> tuple[dict, str]:
  """The plain values of a fingerprint with short lines for its ranges, and its tables as markup."""
  plain = {key: value for key, value in fingerprint.items() if key not in _TABLES}
  by = fingerprint.get('records_by_raters') or {}
  if by:
    plain['records by number of raters'] = ', '.join(f'{k}: {count}' for k, count in by.items())
  for key, unit in (('size', 'pixels'), ('spacing', 'mm')):
    ranges = fingerprint.get(key) or {}
    plain |= {
      f'{name} ({unit})': _range(values) for name, values in ranges.items() if values is not None
    }
  return plain, tables(fingerprint)


def tables(fingerprint: dict) -> str:
  """What the raters do, how they agree, and what intensities there are."""
  body = ''
  if fingerprint.get('personalization'):
    body += html.paragraph(str(fingerprint['personalization']))
  body += _raters(fingerprint.get('rater_statistics') or [])
  body += _effects(fingerprint.get('rater_effect') or {})
  body += _dice(fingerprint.get('dice') or {}, fingerprint.get('rater_statistics') or [])
  body += _intensity(fingerprint.get('intensity') or [])
  return body


def _raters(lines: list) -> str:
  if not lines:
    return ''
  rows = [[str(line.get('rater')), *(_short(line.get(key)) for key in _COLUMNS)] for line in lines]
  note = (
    'Medians over the masks that are not empty. Compactness is 4 pi area / perimeter², 1 for a '
    'disk; roughness is the number of pixels that a majority vote over 5x5 changes, a pixel of '
    'perimeter.'
  )
  return (
    '<h3>Raters as stored</h3>'
    + html.table(('rater', *_COLUMNS.values()), rows, plain=False)
    + html.notes([note])
  )


def _effects(effects: dict) -> str:
  rows = [
    [
      _TRAITS.get(name, name),
      f'{_percent(effect.get("share"))} ({_percent(effect.get("low"))} to '
      f'{_percent(effect.get("high"))})',
      _percent(effect.get('chance')),
      _percent(effect.get('between')),
    ]
    for name, effect in effects.items()
    if effect
  ]
  if not rows:
    return ''
  head = ('', 'explained by who drew (95 %)', 'by chance', 'between images, of all variance')
  return '<h3>Variance within images</h3>' + html.table(head, rows, plain=False)


def _dice(dice: dict, lines: list) -> str:
  pairs = dice.get('pairs') or []
  if len(pairs) < 2 or len(pairs) != len(lines):
    return ''
  names = [str(line.get('rater')) for line in lines]
  rows = [[name, *map(_short, row)] for name, row in zip(names, pairs, strict=True)]
  text = (
    f'Mean over {dice.get("images")} images: {_short(dice.get("mean"))}, deviation '
    f'{_short(dice.get("deviation"))}. Pairs of empty masks are left out.'
  )
  table = html.table(('rater', *names), rows, plain=False)
  return '<h3>Dice between raters</h3>' + table + html.notes([text])


def _intensity(channels: list) -> str:
  if not channels:
    return ''
  names = list(channels[0])
  rows = [
    [str(place), *(_short(channel.get(name)) for name in names)]
    for place, channel in enumerate(channels, 1)
  ]
  return '<h3>Stored intensities</h3>' + html.table(('channel', *names), rows, plain=False)


def _range(values: Sequence) -> str:
  low, middle, high = (*values, None, None, None)[:3]
  if low == high:
    return _short(low)
  return f'{_short(low)} to {_short(high)}, median {_short(middle)}'


def _short(value: object) -> str:
  if isinstance(value, int) and not isinstance(value, bool):
    return f'{value:,}'
  known = number(value)
  return f'{known:.4g}' if math.isfinite(known) else '–'


def _percent(value: object) -> str:
  known = number(value)
  return f'{known:.0%}' if math.isfinite(known) else '–'
