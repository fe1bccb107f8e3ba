"""One case from plain arrays: checked, in one layout, counted slice by slice."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped
from numpy.typing import ArrayLike

from multirater_jax.metrics.overlap import Counts, add_to_units, count

PIXELS = 2**23  # probabilities counted at once; bounds the memory
GRID = 32  # images are padded to multiples of it, so that few shapes are compiled

Plain = Shaped[np.ndarray, '...']


class Case(NamedTuple):
  """Checked arrays of one case; an image is a volume of one slice."""

  probs: Float[np.ndarray, 's d h w k']
  masks: Integer[np.ndarray, 'r d h w']
  annotated: Bool[np.ndarray, ' r']
  personalized: Float[np.ndarray, 'r d h w k'] | None


def check_case(
  samples: ArrayLike,
  masks: ArrayLike,
  annotated: ArrayLike | None = None,
  personalized: ArrayLike | None = None,
) -> Case:
  """Check the arrays of one case and bring them into one layout.

  ``masks`` is [r h w] or [r d h w] with class numbers; ``samples`` and ``personalized`` are
  probabilities or binary of the same rank, or one rank more with all classes last.

  Raises:
    ValueError: wrong rank or shape, no sample, no rater, NaN, values outside [0, 1], class
      probabilities that do not sum to 1, masks that are not class numbers.
  """
  masks = np.asarray(masks)
  if masks.ndim not in (3, 4) or 0 in masks.shape:
    raise ValueError(f'masks have shape {masks.shape}; give [r, h, w] or [r, d, h, w], not empty')
  probs = _check_probs('samples', np.asarray(samples), masks)
  masks = _check_masks(masks, probs.shape[-1])
  annotated = _check_annotated(annotated, len(masks))
  if personalized is not None:
    personalized = _check_probs('personalized', np.asarray(personalized), masks)
    if len(personalized) != len(masks):
      raise ValueError(
        f'there are {len(personalized)} personalized outputs for {len(masks)} raters; give one '
        'per rater, in the order of the raters'
      )
    if personalized.shape[-1] != probs.shape[-1]:
      raise ValueError(
        f'personalized outputs have {personalized.shape[-1]} classes and samples have '
        f'{probs.shape[-1]}; give both the same classes'
      )
  volume = masks.shape[1:] if masks.ndim == 4 else (1, *masks.shape[1:])

  def as_volume(probs: Plain | None) -> np.ndarray | None:
    return None if probs is None else probs.reshape(len(probs), *volume, -1)

  return Case(
    as_volume(probs), masks.reshape(len(masks), *volume), annotated, as_volume(personalized)
  )


def _check_probs(name: str, probs: Plain, masks: Plain) -> Float[np.ndarray, '... k']:
  """Finite probabilities with a class axis."""
  space = masks.shape[1:]
  if probs.ndim - masks.ndim not in (0, 1) or probs.shape[1 : masks.ndim] != space:
    raise ValueError(
      f'{name} have shape {probs.shape} for masks of shape {masks.shape}; give one map of '
      f'{space} each, with or without a last axis of classes'
    )
  if len(probs) == 0:
    raise ValueError(f'{name} have shape {probs.shape}: there is none; give at least one')
  probs = probs.astype(np.float32)
  # NaN fails both comparisons.
  if not (probs.min() >= 0 and probs.max() <= 1):
    what = 'NaN' if np.isnan(probs).any() else f'values from {probs.min():g} to {probs.max():g}'
    raise ValueError(
      f'{name} hold {what}; give probabilities from 0 to 1, no logits or gray values'
    )
  if probs.ndim == masks.ndim:
    return np.stack([1 - probs, probs], -1)
  if probs.shape[-1] < 2 or np.abs(probs.sum(-1) - 1).max() > 1e-2:
    raise ValueError(
      f'{name} have {probs.shape[-1]} classes that do not sum to 1 at every pixel; give all '
      'classes, background first'
    )
  return probs


def _check_masks(masks: Plain, num_classes: int) -> Integer[np.ndarray, '...']:
  values = masks.astype(np.int32) if np.isfinite(masks).all() else None
  if values is None or (values != masks).any() or values.min() < 0 or values.max() >= num_classes:
    raise ValueError(
      f'masks hold values that are not class numbers from 0 to {num_classes - 1}; give one class '
      'number a pixel, and samples with a last axis of classes for more than one foreground class'
    )
  return values


def _check_annotated(annotated: ArrayLike | None, num_raters: int) -> Bool[np.ndarray, ' r']:
  if annotated is None:
    return np.ones(num_raters, bool)
  annotated = np.asarray(annotated)
  if annotated.shape != (num_raters,):
    raise ValueError(
      f'annotated has shape {annotated.shape} for {num_raters} raters; give one flag per rater'
    )
  if not annotated.any():
    raise ValueError('annotated is false for every rater; a case needs at least one rater')
  return annotated.astype(bool)


_count = jax.jit(count)


def count_case(
  probs: Float[np.ndarray, 's d h w k'],
  masks: Integer[np.ndarray, 'r d h w'],
  annotated: Bool[np.ndarray, ' r'],
) -> Counts:
  """Counts of one unit (host, float64), some slices at a time."""
  s, depth, h, w, k = probs.shape
  pad = [(0, -h % GRID), (0, -w % GRID)]
  rows = min(depth, max(1, PIXELS // (s * (h + pad[0][1]) * (w + pad[1][1]) * k)))
  total = None
  for start in range(0, depth, rows):
    number = min(rows, depth - start)
    slices = slice(start, start + number)
    front = [(0, rows - number), (0, 0), *pad]
    valid = np.pad(np.ones((number, h, w), bool), [front[0], *pad])
    part = _count(
      np.pad(probs[:, slices].swapaxes(0, 1), [*front, (0, 0)]),
      np.pad(masks[:, slices].swapaxes(0, 1), front),
      np.pad(np.tile(annotated, (number, 1)), front[:2]),
      valid,
    )
    part = add_to_units(part, np.zeros(rows, np.int32), 1)
    total = part if total is None else jax.tree.map(np.add, total, part)
  return total


def harden(probs: Float[np.ndarray, '... k']) -> Integer[np.ndarray, '...']:
  """Class numbers: foreground strictly above 0.5 for two classes, argmax for more."""
  if probs.shape[-1] == 2:
    return (probs[..., 1] > 0.5).astype(np.int32)
  return probs.argmax(-1).astype(np.int32)
