import itertools

import numpy as np
import pytest

from multirater_jax.metrics import bootstrap


def test_interval_equals_resampling_by_hand():
  rng = np.random.default_rng(0)
  values = rng.normal(size=60)
  cases = rng.integers(0, 15, 60)
  found = bootstrap.interval(values, cases, num_resamples=4000, seed=1)
  groups = [values[cases == c] for c in np.unique(cases)]
  means = []
  for _ in range(4000):
    drawn = [groups[i] for i in rng.integers(0, len(groups), len(groups))]
    means.append(np.concatenate(drawn).mean())
  low, high = np.percentile(means, [2.5, 97.5])
  assert found.mean == pytest.approx(values.mean())
  assert found.low == pytest.approx(low, abs=0.02)
  assert found.high == pytest.approx(high, abs=0.02)


def test_intervals_cover_the_truth():
  rng = np.random.default_rng(0)
  hits = 0
  for trial in range(200):
    effect = np.repeat(rng.normal(size=40), 3)
    values = effect + 0.1 * rng.normal(size=120)
    low, high = bootstrap.interval(
      values, np.repeat(np.arange(40), 3), num_resamples=300, seed=trial
    )[1:]
    hits += low <= 0 <= high
  assert 0.88 <= hits / 200 <= 0.99


def test_cases_not_units_are_resampled():
  values = np.repeat(np.random.default_rng(0).normal(size=10), 50)
  by_case = bootstrap.interval(values, np.repeat(np.arange(10), 50))
  by_unit = bootstrap.interval(values, np.arange(500))
  assert by_case.high - by_case.low > 4 * (by_unit.high - by_unit.low)


def test_seeded_and_independent_of_blocks(monkeypatch):
  values, cases = np.arange(30.0), np.arange(30) // 2
  one = bootstrap.interval(values, cases, seed=3)
  monkeypatch.setattr(bootstrap, 'CHUNK', 100)
  assert bootstrap.interval(values, cases, seed=3) == pytest.approx(one)
  assert bootstrap.interval(values, cases, seed=4) != one


def test_undefined_units_do_not_enter():
  values = np.array([1.0, np.nan, 3.0, np.nan])
  found = bootstrap.interval(values, np.array(['a', 'a', 'b', 'c']))
  assert found.mean == 2
  assert 1 <= found.low <= found.high <= 3
  assert np.isnan(bootstrap.interval(np.full(2, np.nan), np.arange(2))).all()
  single = bootstrap.interval(np.array([1.0, 2.0]), np.zeros(2))
  assert single.mean == 1.5
  assert np.isnan(single[1:]).all()


def test_p_value_equals_all_sign_flips():
  rng = np.random.default_rng(0)
  a, b = rng.normal(0.5, 1, 10), rng.normal(0, 1, 10)
  difference = a - b
  flips = np.array(list(itertools.product([-1, 1], repeat=10))) @ difference
  exact = (np.abs(flips) >= abs(difference.sum()) - 1e-9).mean()
  found = bootstrap.paired_difference(a, b, np.arange(10))
  assert found.p_value == pytest.approx(exact, abs=0.02)
  assert found.mean == pytest.approx(difference.mean())


def test_p_values_are_uniform_without_a_difference_and_small_with_one():
  rng = np.random.default_rng(0)
  cases = np.arange(30)
  p = [
    bootstrap.paired_difference(*rng.normal(size=(2, 30)), cases, num_resamples=500).p_value
    for _ in range(150)
  ]
  assert 0.01 <= np.mean(np.array(p) < 0.1) <= 0.2
  a = rng.normal(size=30)
  assert bootstrap.paired_difference(a + 0.5, a, cases).p_value < 0.001
  assert bootstrap.paired_difference(a, a, cases).p_value == 1


def test_other_units_are_refused():
  with pytest.raises(ValueError, match='same units'):
    bootstrap.paired_difference(np.zeros(3), np.zeros(4), np.arange(3))
