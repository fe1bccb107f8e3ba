"""Percentile intervals and paired comparisons over cases (patients); host, float64, seeded."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Shaped

CHUNK = 2**22  # entries of a block of resampling weights; bounds the memory


class Interval(NamedTuple):
  """Mean over units with its percentile interval, which is NaN with fewer than two cases."""

  mean: float
  low: float
  high: float


class Difference(NamedTuple):
  """Mean of a - b over units, its interval, and the two-sided p-value of no difference."""

  mean: float
  low: float
  high: float
  p_value: float


def interval(
  values: Float[np.ndarray, ' u'],
  cases: Shaped[np.ndarray, ' u'],
  *,
  num_resamples: int = 2000,
  level: float = 0.95,
  seed: int = 0,
) -> Interval:
  """Bootstrap interval of the mean over units, by drawing whole cases with replacement.

  A draw takes as many cases as there are, with all their units, and averages over these units.
  Units with NaN (score undefined) do not enter; without any unit all three are NaN.

  Source: Efron and Tibshirani 1993, chapter 13; Field and Welsh 2007 for clusters.
  """
  sums, numbers = _by_case(values, cases)
  if len(sums) == 0:
    return Interval(np.nan, np.nan, np.nan)
  mean = float(sums.sum() / numbers.sum())
  if len(sums) == 1:
    return Interval(mean, np.nan, np.nan)
  rng = np.random.default_rng(seed)
  draws = [
    (weights @ sums) / (weights @ numbers) for weights in _resamples(rng, len(sums), num_resamples)
  ]
  tail = (1 - level) / 2
  low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
  return Interval(mean, float(low), float(high))


def intervals(
  columns: Mapping[str, Float[np.ndarray, ' u']],
  cases: Shaped[np.ndarray, ' u'],
  *,
  num_resamples: int = 2000,
  seed: int = 0,
) -> dict[str, Interval]:
  """``interval`` of every column."""
  return {
    name: interval(values, cases, num_resamples=num_resamples, seed=seed)
    for name, values in columns.items()
  }


def paired_difference(
  a: Float[np.ndarray, ' _'],
  b: Float[np.ndarray, ' _'],
  cases: Shaped[np.ndarray, ' _'],
  *,
  num_resamples: int = 10_000,
  seed: int = 0,
) -> Difference:
  """Compare two methods on the same units: a - b, with interval and p-value over cases.

  The p-value is that of the sign-flip permutation test: under no difference a case's two scores
  could be exchanged. p = (1 + #{|flipped| >= |observed|}) / (1 + num_resamples).

  Raises:
    ValueError: the two methods were not scored on the same units.
  """
  if np.shape(a) != np.shape(b) or np.shape(a) != np.shape(cases):
    raise ValueError(
      f'the methods have {np.size(a)} and {np.size(b)} scores for {np.size(cases)} units; '
      'score both on the same units'
    )
  difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
  result = interval(difference, cases, num_resamples=num_resamples, seed=seed)
  sums, _ = _by_case(difference, cases)
  if len(sums) == 0:
    return Difference(*result, np.nan)
  rng = np.random.default_rng(seed)
  observed = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()
  extreme = 0
  for signs in _blocks(num_resamples, len(sums)):
    flips = rng.integers(0, 2, (signs, len(sums))) * 2 - 1
    extreme += int((np.abs(flips @ sums) >= observed).sum())
  return Difference(*result, (1 + extreme) / (1 + num_resamples))


def _by_case(
  values: Float[np.ndarray, ' u'], cases: Shaped[np.ndarray, ' u']
) -> tuple[Float[np.ndarray, ' c'], Integer[np.ndarray, ' c']]:
  """Sum and number of the defined values of each case that has any."""
  values = np.asarray(values, np.float64)
  defined = ~np.isnan(values)
  _, index = np.unique(np.asarray(cases)[defined], return_inverse=True)
  return np.bincount(index, values[defined]).astype(np.float64), np.bincount(index)


def _resamples(rng: np.random.Generator, n: int, total: int) -> Iterator[np.ndarray]:
  """How often each of n cases is drawn, in blocks of resamples."""
  for size in _blocks(total, n):
    yield rng.multinomial(n, np.full(n, 1 / n), size=size)


def _blocks(total: int, width: int) -> Iterator[int]:
  size = max(1, CHUNK // width)
  for start in range(0, total, size):
    yield min(size, total - start)
