"""Random cases with everything that happens: empty masks, missing raters, hard and soft samples."""

from typing import NamedTuple

import jax
import numpy as np

from multirater_jax.metrics import count

jit_count = jax.jit(count)  # one cache of compiled shapes for all tests


class Shape(NamedTuple):
  units: int
  samples: int
  raters: int
  classes: int = 2
  depth: int = 1
  size: tuple[int, int] = (6, 7)


def random_units(seed, shape):
  """Probabilities [u s d h w k] that are multiples of 1/64, masks [u r d h w], drew [u r d]."""
  units, samples, raters, classes, depth, size = shape
  rng = np.random.default_rng(seed)
  space = (depth, *size)
  truth = rng.integers(0, classes, (units, 1, *space))
  masks = _noisy(rng, truth, (units, raters, *space), classes)
  hard = _noisy(rng, truth, (units, samples, *space), classes)
  masks[rng.random((units, raters)) < 0.25] = 0
  hard[rng.random((units, samples)) < 0.25] = 0
  masks[rng.random(units) < 0.05] = 0
  hard[rng.random(units) < 0.05] = 0
  sharp = np.eye(classes)[hard]
  cuts = np.sort(rng.integers(0, 65, (*hard.shape, classes - 1)), -1)
  edges = np.concatenate([np.zeros_like(cuts[..., :1]), cuts, np.full_like(cuts[..., :1], 64)], -1)
  soft = np.diff(edges, axis=-1) / 64
  use = rng.random(units) < 0.5
  probs = np.where(use[:, None, None, None, None, None], soft, sharp)
  drew = rng.random((units, raters, depth)) < 0.8
  drew |= rng.random((units, 1, 1)) < 0.5
  drew[:, 0, 0] |= ~drew.any((1, 2))
  return probs.astype(np.float32), masks.astype(np.uint8), drew


def _noisy(rng, truth, shape, classes):
  noise = rng.integers(0, classes, shape)
  return np.where(rng.random(shape) < 0.4, noise, np.broadcast_to(truth, shape))


def rows(probs, masks, drew):
  """One row a slice, in the layout of ``count``, and the unit of every row."""
  units, _, depth = drew.shape

  def flat(x):
    return np.moveaxis(x, 2, 1).reshape(units * depth, x.shape[1], *x.shape[3:])

  return (flat(probs), flat(masks), flat(drew)), np.repeat(np.arange(units), depth)
