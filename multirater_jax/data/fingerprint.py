"""What a prepared set holds in numbers, and whether its raters differ in a way one can learn.

Computed once and kept beside the set as ``fingerprint.json``.
"""

import collections
import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from multirater_jax.data.errors import DataError
from multirater_jax.data.morphology import Shape, measure
from multirater_jax.data.rater_effect import Effect, explain
from multirater_jax.data.source import Record, Source

NAME = 'fingerprint.json'
VERSION = 1  # of the file; another one is computed anew
TRAITS = ('area', 'compactness', 'roughness')  # what raters are compared by; the first two as logs
STRONG, WEAK = 0.25, 0.05  # shares of the variance above which a rater's manner is worth learning
_PERCENTILES = (0.5, 50, 99.5)
_SAMPLE = 2**22  # pixels of the whole set that percentiles are taken of

Follow = Callable[[Sequence[int]], Iterable[int]]


def load(directory: str | os.PathLike, follow: Follow = iter) -> dict[str, Any]:
  """The fingerprint of a prepared set; computed and written beside it where it is not there yet.

  ``follow`` wraps the record numbers while they are read, to show progress.

  Raises:
    DataError: when the file beside the set belongs to other records, or the set is damaged.
  """
  path = pathlib.Path(directory) / NAME
  source = Source(directory, cache_mb=0)  # raters in the order in which they are stored
  try:
    found = json.loads(path.read_text())
    version, owner = found['version'], found['hash']
  except (OSError, ValueError, KeyError, TypeError):
    version, owner = None, source.info.hash
  if owner != source.info.hash:
    raise DataError(
      f'{path} was made for records with the hash {owner}, but those beside it have the hash '
      f'{source.info.hash}; delete the folder and prepare the set again.'
    )
  if version == VERSION:
    return found
  found = compute(source, follow)
  _write(path, found)
  return found


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
  """All or nothing; where the folder cannot be written the next reader computes it again."""
  temporary = path.with_name(f'{NAME}.{os.getpid()}.tmp')
  try:
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + '\n')
    os.replace(temporary, path)
  except OSError:
    with contextlib.suppress(OSError):
      temporary.unlink()


def compute(source: Source, follow: Follow = iter) -> dict[str, Any]:
  """Reads every record of a source in stored order once; values that do not exist are None."""
  info = source.info
  seen = _Seen(len(info.records))
  for index in follow(range(len(info.records))):
    seen.add(source[index])
  shapes = np.array(seen.shapes)
  effects = {
    name: explain(_trait(shapes, name), info.cases) for name in TRAITS if len(info.raters) > 1
  }
  found = {
    'version': VERSION,
    'name': info.name,
    'hash': info.hash,
    'records': len(info.records),
    'cases': len(set(info.cases)),
    'records_by_raters': _by_raters(np.array(seen.annotated)),
    'raters': info.raters,
    'rater_identity': info.rater_identity,
    'num_classes': info.num_classes,
    'size': _ranges(np.array(seen.sizes, float), ('height', 'width')),
    'type': seen.dtype,
    'intensity': seen.intensity(),
    'spacing': _ranges(np.array(seen.spacings, float), ('row', 'column')),
    'rater_statistics': _rater_statistics(info.raters, shapes, seen.annotated, effects),
    'dice': _dice(np.array(seen.dice)),
    'rater_effect': {name: effect and effect._asdict() for name, effect in effects.items()},
    'personalization': verdict(effects, identity=info.rater_identity),
  }
  return _plain(found)


class _Seen:
  """What is kept of the records that went by."""

  def __init__(self, num_records: int):
    self.shapes: list[list[Shape]] = []  # [n r measure]; nan where a rater did not draw
    self.annotated: list[np.ndarray] = []
    self.sizes: list[tuple[int, int]] = []
    self.spacings: list[np.ndarray] = []
    self.dice: list[np.ndarray] = []
    self.dtype = ''
    self._share = max(16, min(4096, _SAMPLE // max(num_records, 1)))
    self._pixels: list[np.ndarray] = []
    self._moments = np.zeros(0)  # pixels, sums, sums of squares, minima, maxima of the channels

  def add(self, record: Record) -> None:
    """Measures one record."""
    masks, annotated = record['masks'] > 0, record['annotated']
    absent = Shape(np.nan, np.nan, np.nan, np.nan)
    drawn = zip(masks, annotated, strict=True)
    self.shapes.append([measure(mask) if on else absent for mask, on in drawn])
    self.annotated.append(annotated)
    self.sizes.append(masks.shape[1:])
    self.spacings.append(record['spacing'])
    self.dice.append(pair_dice(masks, annotated))
    self.dtype = record['image'].dtype.name
    self._add_pixels(record['image'].reshape(-1, record['image'].shape[-1]))

  def _add_pixels(self, pixels: Shaped[np.ndarray, 'p c']) -> None:
    self._pixels.append(pixels[:: max(1, len(pixels) // self._share)])
    wide = pixels.astype(np.float64)
    new = np.stack(
      [
        np.full(wide.shape[1], len(wide)),
        wide.sum(axis=0),
        np.square(wide).sum(axis=0),
        wide.min(axis=0),
        wide.max(axis=0),
      ]
    )
    if self._moments.size:
      new[:3] += self._moments[:3]
      new[3] = np.minimum(new[3], self._moments[3])
      new[4] = np.maximum(new[4], self._moments[4])
    self._moments = new

  def intensity(self) -> list[dict[str, float]]:
    """Stored values of every channel; percentiles are taken of a part of the pixels."""
    count, total, squares, low, high = self._moments
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    cuts = np.percentile(np.concatenate(self._pixels), _PERCENTILES, axis=0)
    names = ('minimum', *(f'percentile {cut:g}' for cut in _PERCENTILES), 'maximum')
    table = np.stack([low, *cuts, high, mean, deviation])
    return [dict(zip((*names, 'mean', 'deviation'), row, strict=True)) for row in table.T]


def pair_dice(
  masks: Bool[np.ndarray, 'r h w'], annotated: Bool[np.ndarray, ' r']
) -> Float[np.ndarray, 'r r']:
  """Dice of every two raters who drew; nan where one did not, or where both masks are empty."""
  flat = masks[:, masks.any(axis=0)].astype(np.float32)
  both = flat @ flat.T
  areas = np.diag(both)
  total = areas[:, None] + areas
  pairs = annotated[:, None] & annotated & (total > 0)
  return np.where(pairs, 2 * both / np.maximum(total, 1), np.nan)


def _trait(shapes: Float[np.ndarray, 'n r m'], name: str) -> Float[np.ndarray, 'n r']:
  values = shapes[..., Shape._fields.index(name)]
  if name == 'roughness':
    return values
  return np.log(np.where(values > 0, values, np.nan))


def _by_raters(annotated: Bool[np.ndarray, 'n r']) -> dict[str, int]:
  counts = collections.Counter(annotated.sum(axis=1).tolist())
  return {str(number): counts[number] for number in sorted(counts)}


def _ranges(values: Float[np.ndarray, 'n 2'], names: tuple[str, str]) -> dict[str, Any]:
  """Smallest, middle and largest finite value of each column."""
  return {
    name: [f(column) for f in (np.min, np.median, np.max)] if len(column) else None
    for name, column in zip(names, (c[np.isfinite(c)] for c in values.T), strict=True)
  }


def _rater_statistics(
  raters: list[str],
  shapes: Float[np.ndarray, 'n r m'],
  annotated: list[np.ndarray],
  effects: dict[str, Effect | None],
) -> list[dict[str, Any]]:
  """Medians over the masks of each rater that are not empty."""
  effect = effects.get('area')
  lines = []
  for number, rater in enumerate(raters):
    own = shapes[:, number]
    marked = own[own[:, 0] > 0]
    lines.append(
      {
        'rater': rater,
        'annotated': int(np.sum(annotated, axis=0)[number]),
        'empty': int(np.count_nonzero(own[:, 0] == 0)),
        'area_ratio': float(np.exp(effect.offsets[number])) if effect else np.nan,
      }
      | {name: _median(column) for name, column in zip(Shape._fields, marked.T, strict=True)}
    )
  return lines


def _median(values: Float[np.ndarray, ' n']) -> float:
  values = values[np.isfinite(values)]
  return float(np.median(values)) if len(values) else np.nan


def _dice(pairs: Float[np.ndarray, 'n r r']) -> dict[str, Any]:
  """Means over images: of each pair, and of the mean over an image's pairs with its deviation."""
  number = pairs.shape[1]
  of_image = np.array([_mean(pair[np.triu_indices(number, 1)]) for pair in pairs])
  known = of_image[np.isfinite(of_image)]
  return {
    'images': len(known),
    'mean': _mean(known),
    'deviation': float(np.std(known, ddof=1)) if len(known) > 1 else np.nan,
    'pairs': [
      [_mean(pairs[:, i, j]) if i != j else 1.0 for j in range(number)] for i in range(number)
    ],
  }


def _mean(values: Float[np.ndarray, ' n']) -> float:
  values = values[np.isfinite(values)]
  return float(values.mean()) if len(values) else np.nan


def verdict(effects: dict[str, Effect | None], *, identity: bool) -> str:
  """One sentence or two: is there a personal manner to learn in this set?"""
  known = {name: effect for name, effect in effects.items() if effect}
  if not known:
    return 'No image was marked by two raters: there is nothing personal to learn.'
  name, best = max(known.items(), key=lambda item: item[1].share - item[1].chance)
  area = known.get('area', best)
  shown = (
    f'Who drew explains {area.share:.0%} of the variance of log area within an image '
    f'(95 % interval {area.low:.0%} to {area.high:.0%}, {area.chance:.0%} by chance)'
  )
  if not identity:
    return (
      f'{shown}. The raters are slots, not persons: this is the order of the slots, and there is '
      'no person whose manner could be learned.'
    )
  if best is not area:
    shown += f', and {best.share:.0%} of that of {name}'
  if best.low > STRONG:
    return f'{shown}: the raters differ in a stable manner, personalization makes sense.'
  if best.low > max(WEAK, best.chance):
    return f'{shown}: the raters differ a little; expect little from personalization.'
  return f'{shown}: the raters are hardly told apart, personalization has nothing to learn here.'


def _plain(value: Any) -> Any:
  """As JSON holds it; a number that is not finite becomes None."""
  if isinstance(value, dict):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  if isinstance(value, np.generic):
    return _plain(value.item())
  return None if isinstance(value, float) and not np.isfinite(value) else value
