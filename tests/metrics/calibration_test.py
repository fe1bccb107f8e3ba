import cases
import numpy as np
import pytest

from multirater_jax.metrics import calibration


@pytest.fixture(scope='module')
def counts():
  rng = np.random.default_rng(0)
  probs = rng.integers(0, 101, (6, 1, 20, 20)).astype(np.float32) / 100
  masks = (rng.random((6, 3, 20, 20)) < probs**2).astype(np.uint8)
  drew = np.array([[1, 1, 1]] * 5 + [[1, 0, 1]], bool)
  return probs[:, 0], masks, drew, cases.jit_count(np.stack([1 - probs, probs], -1), masks, drew)


def test_adaptive_bins_are_equal_mass_of_the_sorted_pixels():
  """40 pixels of each of 10 values in uneven places: equal mass puts one value in each bin."""
  values = np.repeat([0.0, 0.01, 0.02, 0.03, 0.3, 0.31, 0.32, 0.9, 0.95, 1.0], 40).reshape(20, 20)
  rng = np.random.default_rng(1)
  mask = rng.random((20, 20)) < 0.5
  probs = np.stack([1 - values, values], -1)[None, None].astype(np.float32)
  masks = np.tile(mask.astype(np.uint8), (6, 3, 1, 1))
  counted = cases.jit_count(np.tile(probs, (6, 1, 1, 1, 1)), masks, np.ones((6, 3), bool))
  expected = np.mean([abs(v - mask[values == v].mean()) for v in np.unique(values)])
  np.testing.assert_allclose(calibration.adaptive_ece(counted.calibration), expected, atol=1e-6)
  assert (calibration.ece(counted.calibration) <= expected + 1e-6).all()


@pytest.mark.parametrize('bins', [5, 10, 20, 100])
def test_ece_for_any_number_of_bins(counts, bins):
  probs, masks, drew, counted = counts
  expected = []
  for p, y, d in zip(probs, masks, drew):
    vote = y[d].mean(0)
    index = np.minimum(np.rint(p * 100).astype(int) * bins // 100, bins - 1)
    gaps = [abs((p - vote)[index == m].sum()) for m in range(bins)]
    expected.append(sum(gaps) / p.size)
  np.testing.assert_allclose(calibration.ece(counted.calibration, bins), expected, atol=1e-6)


def test_reliability_curve_pools_units(counts):
  probs, masks, drew, counted = counts
  curve = calibration.reliability(counted.calibration)
  votes = np.stack([y[d].mean(0) for y, d in zip(masks, drew)])
  index = np.minimum(np.rint(probs * 100).astype(int) // 10, 9)
  for m in range(10):
    assert curve.count[m] == (index == m).sum()
    assert curve.confidence[m] == pytest.approx(probs[index == m].mean(), abs=1e-6)
    assert curve.frequency[m] == pytest.approx(votes[index == m].mean(), abs=1e-6)
  np.testing.assert_allclose(curve.edges, np.linspace(0, 1, 11))


def test_empty_bins_of_a_curve_are_nan():
  probs = np.zeros((6, 1, 20, 20, 2), np.float32)
  probs[..., 0] = 1
  counted = cases.jit_count(probs, np.zeros((6, 3, 20, 20), np.uint8), np.ones((6, 3), bool))
  curve = calibration.reliability(counted.calibration)
  assert curve.frequency[0] == 0
  assert np.isnan(curve.confidence[1:]).all()


def test_rater_ece_is_against_each_rater(counts):
  probs, masks, drew, counted = counts
  values = np.asarray(calibration.rater_ece(counted.calibration))
  assert np.isnan(values[5, 1])
  first = drew & [True, False, False]
  own = cases.jit_count(np.stack([1 - probs, probs], -1)[:, None], masks, first)
  np.testing.assert_allclose(values[:, 0], calibration.ece(own.calibration), atol=1e-6)
