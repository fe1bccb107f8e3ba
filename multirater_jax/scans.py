"""A model over all slices of a scan, one slice at a time, into arrays that lie on disk."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from multirater_jax.metrics import agreement
from multirater_jax.model import Model
from multirater_jax.text import normalize


class Maps(NamedTuple):
  """What is said of a scan; memory-mapped, so that no volume of outputs has to fit in memory."""

  raters: UInt8[np.ndarray, 'r d h w']  # classes; r = 0 where no personalized masks are made
  samples: UInt8[np.ndarray, 's d h w']
  consensus: Float[np.ndarray, 'd h w']  # mean foreground probability over the samples
  entropy: Float[np.ndarray, 'd h w']  # of the consensus, nats
  disagreement: Float[np.ndarray, 'd h w']  # variance of the foreground over raters


class Wish(NamedTuple):
  """What is to be predicted."""

  num_samples: int = 16
  raters: tuple[str | int, ...] | None = None  # None: all
  prompts: tuple[str, ...] | None = None
  seed: int = 0

  def names(self, model: Model) -> tuple[str, ...]:
    """What the rater maps are called."""
    if model.method.personalize is None:
      return ()
    if self.prompts is not None:
      return tuple(f'prompt {number + 1}' for number in range(len(self.prompts)))
    return tuple(model.raters[model.number_of(r)] for r in self.raters or model.raters)


def predict(
  model: Model,
  planes: Shaped[np.ndarray, 'd h w c'],
  wish: Wish,
  folder: Path,
  follow: Callable[[Sequence[int]], Iterator[int]] = iter,
  **windows: Any,
) -> Maps:
  """Predicts slice after slice with the same draws; the arrays lie in ``folder`` until it goes."""
  depth, height, width = planes.shape[:3]

  def lying(name, *shape, dtype):
    if not shape[0]:
      return np.zeros(shape, dtype)
    return np.lib.format.open_memmap(folder / f'{name}.npy', 'w+', dtype, shape)

  area = (depth, height, width)
  maps = Maps(
    lying('raters', len(wish.names(model)), *area, dtype=np.uint8),
    lying('samples', wish.num_samples, *area, dtype=np.uint8),
    *(lying(name, *area, dtype=np.float32) for name in ('consensus', 'entropy', 'disagreement')),
  )
  for number in follow(range(depth)):
    found = model.predict(
      planes[number], wish.num_samples, wish.raters, prompt=wish.prompts, seed=wish.seed, **windows
    )
    if found.raters is not None:
      maps.raters[:, number] = found.raters.argmax(-1)
    maps.samples[:, number] = found.samples.argmax(-1)
    maps.consensus[number] = 1 - found.consensus[..., 0]
    maps.entropy[number] = found.entropy
    maps.disagreement[number] = found.disagreement
  return maps


def mixtures(
  model: Model,
  planes: Shaped[np.ndarray, 'd h w c'],
  ends: Float[np.ndarray, '2 n'],
  wish: Wish,
  *,
  steps: int = 5,
  **windows: Any,
) -> UInt8[np.ndarray, 'm d h w']:
  """Classes on the way from one row of ``style`` to another, the ends included."""
  share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
  style = (1 - share) * ends[0] + share * ends[1]
  if wish.prompts is not None:
    style = normalize(style)
  found = [
    model.personalize(plane, style=style, seed=wish.seed, **windows).argmax(-1).astype(np.uint8)
    for plane in planes
  ]
  return np.stack(found, axis=1)


def measures(maps: Maps, names: Sequence[str], voxel_ml: float | None) -> dict[str, Any]:
  """Sizes of the foreground with their interval over samples, and how far raters agree.

  Sizes are in ml where the voxel is known, else in pixels.
  """
  unit = 'ml' if voxel_ml else 'pixels'
  scale = voxel_ml or 1

  def size(mask):
    return float(np.count_nonzero(mask) * scale)

  sizes = np.array([size(sample) for sample in maps.samples])
  return {
    'unit': unit,
    'raters': {name: size(mask) for name, mask in zip(names, maps.raters, strict=True)},
    'consensus': size(maps.consensus > 0.5),
    'samples': {
      'mean': float(sizes.mean()),
      'low': float(np.percentile(sizes, 2.5)),
      'high': float(np.percentile(sizes, 97.5)),
    },
    'rater_dice': _pair_dice(maps.raters, names),
    'mean_entropy': float(maps.entropy.mean(dtype=np.float64)),
    'mean_disagreement': float(maps.disagreement.mean(dtype=np.float64)),
  }


def _pair_dice(masks: UInt8[np.ndarray, 'r d h w'], names: Sequence[str]) -> dict[str, float]:
  """Foreground Dice of every two raters; two empty masks agree."""
  found = {}
  for i, first in enumerate(masks):
    for j in range(i + 1, len(masks)):
      areas = ((first > 0) & (masks[j] > 0), first, masks[j])
      dice = agreement.dice(*(np.asarray(np.count_nonzero(area)) for area in areas))
      found[f'{names[i]} / {names[j]}'] = float(dice)
  return found


def flags(
  planes: Shaped[np.ndarray, 'd h w c'],
  spacing: tuple[float, float] | None,
  model: Model,
  fingerprint: dict[str, Any],
) -> list[str]:
  """What makes an image unlike those the model learned from, a sentence each."""
  found = []
  if planes.min() == planes.max():
    found.append('The image is constant.')
  if min(planes.shape[1:3]) < model.size:
    size = f'{planes.shape[1]} x {planes.shape[2]}'
    found.append(f'The image ({size}) is smaller than the training window of {model.size}.')
  for channel, known in enumerate(fingerprint['intensity']):
    top = _largest(planes.dtype) / _largest(np.dtype(fingerprint['type']))
    low, high = top * known['percentile 0.5'], top * known['percentile 99.5']
    outside = float(((planes[..., channel] < low) | (planes[..., channel] > high)).mean())
    if outside > 0.05:
      found.append(
        f'{outside:.0%} of the intensities of channel {channel + 1} lie outside of [{low:g}, '
        f'{high:g}], where 99 % of those of the training images lie.'
      )
  known = fingerprint.get('spacing') or {}
  for axis, length in zip(('row', 'column'), spacing or (), strict=False):
    if known.get(axis) and None not in known[axis]:
      low, _, high = known[axis]
      if not 0.9 * low <= length <= 1.1 * high:
        found.append(f'A {axis} is {length:g} mm; in training it was {low:g} to {high:g} mm.')
  return found


def _largest(dtype: np.dtype) -> float:
  return float(np.iinfo(dtype).max) if dtype.kind == 'u' else 1.0
