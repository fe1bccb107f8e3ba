"""What the tiles of a picture panel show."""

import matplotlib
import numpy as np
from jaxtyping import Bool, Num, UInt8

from multirater_jax.report.outlines import polygons
from multirater_jax.report.style import RATERS, SAMPLE
from multirater_jax.report.tiles import Contour, Panel, Tile

SIDE = 256  # larger pictures are thinned out before they are drawn
SAMPLES = 8
ENTROPY = float(np.log(2))  # nats, at probability 1/2
VARIANCE = 0.25  # of a mark that half the samples make
_DASH = ('', '5 2.5', '1.5 2')


def panels(arrays: dict, raters: list[str]) -> list[Panel]:
  """One panel for every image of ``panels.npz``."""
  return [_panel(arrays, number, raters) for number in range(len(arrays['image']))]


def _panel(arrays: dict, number: int, raters: list[str]) -> Panel:
  step = -(-max(arrays['image'].shape[1:3]) // SIDE)
  one = {key: value[number] for key, value in arrays.items()}
  picture = gray_or_color(one['image'])[::step, ::step]
  for key in ('masks', 'samples', 'personalized', 'consensus', 'entropy', 'disagreement'):
    if key in one:
      one[key] = one[key][..., ::step, ::step]
  groups = {'Image and agreement': _agreement(one, picture, raters)}
  if 'personalized' in one:
    groups['Personalized outputs, each with the rater’s own mask'] = _personalized(
      one, picture, raters
    )
  if 'samples' in one:
    groups[_sample_heading(one['samples'])] = [
      Tile(f'sample {i + 1}', picture, contours(mask, SAMPLE))
      for i, mask in enumerate(one['samples'][:SAMPLES])
    ]
  ged = float(one['ged']) if 'ged' in one else float('nan')
  return Panel(str(one.get('name', number)), str(one.get('kind', '')), ged, groups)


def _sample_heading(samples: np.ndarray) -> str:
  total = len(samples)
  return 'Samples' if total <= SAMPLES else f'Samples (first {SAMPLES} of {total})'


def _agreement(one: dict, picture: np.ndarray, raters: list[str]) -> list[Tile]:
  drawn = np.flatnonzero(one['annotated'])
  lines = rater_lines(one['masks'], one['annotated'])
  tiles = [Tile('image', picture, []), Tile('contours of all raters', picture, lines)]
  if len(drawn):
    votes = (one['masks'][drawn] > 0).mean(0)
    tiles.append(Tile(f'votes of {len(drawn)} of {len(raters)} raters', _byte(votes), []))
  if 'consensus' in one:
    border = contours((one['consensus'] > 0.5).astype(np.uint8), SAMPLE)
    tiles.append(Tile('consensus, line at 0.5', _byte(one['consensus']), border))
  if 'entropy' in one:
    tiles.append(Tile('entropy', heat(one['entropy'], ENTROPY), []))
  if 'disagreement' in one:
    tiles.append(Tile('disagreement of samples', heat(one['disagreement'], VARIANCE), []))
  return tiles


def rater_lines(
  masks: Num[np.ndarray, 'r h w'], annotated: Bool[np.ndarray, ' r']
) -> list[Contour]:
  """Contours of all raters who drew; a rater below shows beside the one above."""
  drawn = np.flatnonzero(annotated)
  step = min(0.7, 2 / max(len(drawn), 2))
  return [
    line._replace(width=line.width + step * (len(drawn) - 1 - place))
    for place, rater in enumerate(drawn)
    for line in contours(masks[rater], color_of(int(rater)))
  ]


def _personalized(one: dict, picture: np.ndarray, raters: list[str]) -> list[Tile]:
  return [
    _own(picture, raters[rater], rater, output, one['masks'][rater] if drew else None)
    for rater, (output, drew) in enumerate(zip(one['personalized'], one['annotated'], strict=True))
  ]


def _own(
  picture: np.ndarray, name: str, rater: int, output: np.ndarray, mask: np.ndarray | None
) -> Tile:
  color = color_of(rater)
  if mask is None:
    return Tile(f'{name}: did not draw', picture, contours(output, color))
  title = f'{name}: Dice {dice(output > 0, mask > 0):.2f}'
  if not mask.any():
    title = f'{name}: empty mask{"" if output.any() else ", empty output"}'
  return Tile(title, picture, contours(mask, color, filled=True) + contours(output, color))


def dice(one: Bool[np.ndarray, 'h w'], other: Bool[np.ndarray, 'h w']) -> float:
  """2 |A and B| / (|A| + |B|), 1 for two empty masks."""
  total = int(one.sum()) + int(other.sum())
  return 2 * int((one & other).sum()) / total if total else 1.0


def color_of(rater: int) -> str:
  """The color of a rater throughout the report."""
  return RATERS[rater % len(RATERS)]


def heat(values: Num[np.ndarray, 'h w'], top: float) -> UInt8[np.ndarray, 'h w 3']:
  """Color-coded values between 0 (black) and ``top`` (pale yellow)."""
  return matplotlib.colormaps['magma'](np.clip(values / top, 0, 1), bytes=True)[..., :3]


def _byte(values: np.ndarray) -> np.ndarray:
  return np.round(255 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.uint8)


def gray_or_color(image: Num[np.ndarray, 'h w c']) -> np.ndarray:
  """Bytes for 0 to 1: three channels are a color picture, of others the first is shown."""
  return _byte(image if image.shape[-1] == 3 else image[..., 0])


def contours(mask: Num[np.ndarray, 'h w'], color: str, *, filled: bool = False) -> list[Contour]:
  """One contour for every foreground class of a mask; further classes are dashed."""
  return [
    Contour(polygons(mask == label), color, filled, _DASH[(int(label) - 1) % len(_DASH)])
    for label in np.unique(mask[mask > 0])
  ]
