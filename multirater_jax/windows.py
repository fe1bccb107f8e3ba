"""Predictions of whole images by a network made for squares: overlapping windows, blended."""

import itertools
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Float, Float32, Shaped

from multirater_jax.data import crops

# A batch of windows [n s s c] -> class probabilities [n m s s k] of m outputs.
Predict = Callable[[Float[np.ndarray, 'n s s c']], Float[np.ndarray, 'n m s s k']]
SIGMA = 1 / 8  # of the Gaussian weights, as a share of the window's side


def gaussian(size: int) -> Float32[np.ndarray, 's s']:
  """Weights of a window's pixels: 1 in the middle, falling to its border, never 0.

  Source: Isensee et al. 2021 (nnU-Net), whose sigma of an eighth of the side is taken.
  """
  place = (np.arange(size) - (size - 1) / 2) / (SIGMA * size)
  line = np.exp(-0.5 * place**2)
  weights = np.outer(line, line)
  return np.maximum(weights, weights.max() * 1e-3).astype(np.float32)


def starts(length: int, size: int, overlap: float) -> list[int]:
  """First pixels of evenly spread windows that cover ``length``, overlapping by at least so much.

  Raises ValueError unless 0 <= overlap < 1.
  """
  if not 0 <= overlap < 1:
    raise ValueError(f'Windows cannot overlap by {overlap} of their side; give 0 to below 1.')
  if length <= size:
    return [0]
  step = max(size * (1 - overlap), 1)
  count = int(np.ceil((length - size) / step)) + 1
  return [round(place) for place in np.linspace(0, length - size, count)]


def predict(
  run: Predict,
  image: Float[np.ndarray, 'h w c'],
  *,
  size: int,
  overlap: float = 0.5,
  batch_size: int = 8,
) -> Float32[np.ndarray, 'm h w k']:
  """Probabilities of every pixel from all windows over it, weighted by ``gaussian``.

  An image smaller than a window is mirrored at its border; one of the window's size is predicted
  as it is. Only the windows of one batch are predicted together, so memory is that of one batch
  and of the result.
  """
  height, width = image.shape[:2]
  padded = np.moveaxis(crops.pad(np.moveaxis(image, -1, 0), size), 0, -1)
  corners = list(itertools.product(*(starts(n, size, overlap) for n in padded.shape[:2])))
  weights = gaussian(size) if len(corners) > 1 else np.ones((size, size), np.float32)
  total, weight = None, np.zeros(padded.shape[:2], np.float32)
  for (row, column), probs in _predicted(run, padded, corners, size, batch_size):
    area = (slice(row, row + size), slice(column, column + size))
    if total is None:
      total = np.zeros((len(probs), *padded.shape[:2], probs.shape[-1]), np.float32)
    total[:, *area] += probs * weights[..., None]
    weight[area] += weights
  total /= weight[..., None]
  top, left = ((total.shape[axis] - length) // 2 for axis, length in ((1, height), (2, width)))
  return total[:, top : top + height, left : left + width]


def predict_resized(
  run: Predict, image: Float[np.ndarray, 'h w c'], *, size: int
) -> Float32[np.ndarray, 'm h w k']:
  """Probabilities of an image that is resized to one window, resized back, both linearly."""
  small = jax.image.resize(image, (size, size, image.shape[-1]), 'linear')
  probs = run(np.asarray(small)[None])[0]
  full = (len(probs), *image.shape[:2], probs.shape[-1])
  return np.asarray(jax.image.resize(probs, full, 'linear'))


def _predicted(
  run: Predict,
  image: Shaped[np.ndarray, 'h w c'],
  corners: list[tuple[int, int]],
  size: int,
  batch_size: int,
) -> Iterator[tuple[tuple[int, int], Float[np.ndarray, 'm s s k']]]:
  """Every corner with the outputs of its window; the last batch is filled up with its first one."""
  batch_size = min(batch_size, len(corners))
  for first in range(0, len(corners), batch_size):
    chunk = corners[first : first + batch_size]
    cut = [image[row : row + size, column : column + size] for row, column in chunk]
    full = np.stack(cut + cut[:1] * (batch_size - len(cut)))
    yield from zip(chunk, run(full), strict=False)
