"""How much of the difference between masks of one image is explained by who drew them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_RESAMPLES = 500


class Effect(NamedTuple):
  """Result of ``explain``."""

  share: float  # of the variance within images
  low: float  # 95 % interval of the share, over cases
  high: float
  chance: float  # share to be expected of raters who do not differ
  between: float  # share of the whole variance that lies between images
  offsets: list[float]  # of each rater from the image's mean; nan without any value
  images: int  # with two values or more


class _Sums(NamedTuple):
  """Additive parts of the normal equations, one row a case."""

  total: Float[np.ndarray, ' n']  # squared distances from the image's mean
  matrix: Float[np.ndarray, 'n r r']
  vector: Float[np.ndarray, 'n r']


def explain(
  values: Float[np.ndarray, 'n r'], cases: Sequence[object], *, seed: int = 0
) -> Effect | None:
  """Two-way decomposition value(image, rater) = image + rater + rest by least squares.

  share = 1 - rest / (sum of squares within images); nan marks an absent value, and images with one
  value say nothing. The interval resamples cases. None where fewer than two images have two values,
  or where nothing differs.
  """
  seen = np.isfinite(values)
  kept = seen.sum(axis=1) > 1
  values, seen = values[kept], seen[kept]
  if len(values) < 2:
    return None
  names = [str(case) for case, keep in zip(cases, kept, strict=True) if keep]
  owners = np.unique(names, return_inverse=True)[1]
  sums = _sums(np.where(seen, values, 0.0), seen, owners)
  within = sums.total.sum()
  if not within > 1e-12:
    return None
  whole = np.square(values[seen] - values[seen].mean()).sum()
  rng = np.random.default_rng(seed)
  number = len(sums.total)
  weights = rng.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES).astype(float)
  low, high = np.quantile(_shares(sums, weights), (0.025, 0.975))
  matrix = sums.matrix.sum(axis=0)
  offsets = np.linalg.pinv(matrix, rcond=1e-9, hermitian=True) @ sums.vector.sum(axis=0)
  freedom = int(seen.sum()) - len(values)
  rank = np.linalg.matrix_rank(matrix, tol=1e-9 * np.abs(matrix).max(), hermitian=True)
  return Effect(
    share=float(_shares(sums, np.ones((1, number)))[0]),
    low=float(low),
    high=float(high),
    chance=float(rank / freedom),
    between=float(1 - within / whole),
    offsets=np.where(seen.any(axis=0), offsets, np.nan).tolist(),
    images=len(values),
  )


def _sums(values: Float[np.ndarray, 'n r'], seen: np.ndarray, owners: np.ndarray) -> _Sums:
  count = seen.sum(axis=1, keepdims=True)
  distance = np.where(seen, values - values.sum(axis=1, keepdims=True) / count, 0.0)
  centering = (
    np.eye(seen.shape[1]) * seen[:, None] - (seen[:, :, None] & seen[:, None]) / count[:, :, None]
  )
  parts = np.square(distance).sum(axis=1), centering, distance
  totals = [np.zeros((owners.max() + 1, *part.shape[1:])) for part in parts]
  for total, part in zip(totals, parts, strict=True):
    np.add.at(total, owners, part)
  return _Sums(*totals)


def _shares(sums: _Sums, weights: Float[np.ndarray, 's n']) -> Float[np.ndarray, ' s']:
  """The explained share, once for every row of weights of the cases."""
  total, matrix, vector = (np.tensordot(weights, part, axes=1) for part in sums)
  offsets = np.einsum('sij,sj->si', np.linalg.pinv(matrix, rcond=1e-9, hermitian=True), vector)
  explained = np.einsum('si,si->s', offsets, vector)
  return explained / np.maximum(total, 1e-300)
