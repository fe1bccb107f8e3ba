import cases
import jax
import numpy as np
import pytest

from multirater_jax.metrics import add_to_units, bounds, unit_scores

jit_rater_counts = jax.jit(bounds.rater_counts, static_argnames='num_classes')
SHAPE = cases.Shape(units=8, samples=1, raters=4, classes=3, depth=2, size=(8, 8))


def test_raters_bound_is_each_rater_against_the_rest():
  _, masks, drew = cases.random_units(3, SHAPE)
  arrays, unit = cases.rows(masks, masks, drew)
  counts = jit_rater_counts(arrays[1], arrays[2], num_classes=3)
  units = bounds.rater_units(unit, 4)
  scores = bounds.rater_scores(unit_scores(add_to_units(counts, units, 4 * SHAPE.units)), 4)
  for u in range(SHAPE.units):
    expected = []
    for r in range(4):
      others = drew[u] & drew[u, r] & (np.arange(4) != r)[:, None]
      if not others.any():
        continue
      probs = np.moveaxis(np.eye(3)[masks[u, r]][None], 1, 0)
      one = cases.jit_count(probs, np.moveaxis(masks[u], 1, 0), others.T)
      expected.append(unit_scores(add_to_units(one, np.zeros(2, int), 1)))
    for name, values in scores.items():
      rows = np.array([row[name][0] for row in expected])
      if name == 'ged_unbiased':
        assert np.isnan(values[u])
      else:
        assert values[u] == pytest.approx(rows.mean(), abs=1e-6), name


def test_identical_raters_are_a_perfect_bound():
  masks = np.repeat(np.random.default_rng(0).integers(0, 3, (16, 1, 8, 8)), 4, 1)
  counts = jit_rater_counts(masks.astype(np.uint8), np.ones((16, 4), bool), num_classes=3)
  scores = bounds.rater_scores(unit_scores(counts), 4)
  np.testing.assert_allclose(scores['ged'], 0, atol=1e-6)
  np.testing.assert_allclose(scores['dice_match'], 1, atol=1e-6)


def test_a_single_rater_has_no_bound():
  drew = np.zeros((16, 4), bool)
  drew[:, 1] = True
  counts = jit_rater_counts(np.ones((16, 4, 8, 8), np.uint8), drew, num_classes=3)
  scores = bounds.rater_scores(unit_scores(counts), 4)
  assert all(np.isnan(values).all() for values in scores.values())


def test_mean_field_draws_the_vote_fraction():
  rng = np.random.default_rng(0)
  masks = rng.integers(0, 3, (3, 4, 6, 6))
  drew = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)
  keys = jax.random.split(jax.random.key(0), 3)
  draws = np.asarray(bounds.mean_field(keys, masks, drew, 4000, 3))
  assert set(np.unique(draws)) == {0, 1}
  np.testing.assert_array_equal(draws.sum(-1), 1)
  for b in range(2):
    votes = np.eye(3)[masks[b, drew[b]]].mean(0)
    np.testing.assert_allclose(draws[b].mean(0), votes, atol=0.05)
  assert draws[2, ..., 0].all()


def test_mean_field_is_calibrated_and_incoherent():
  """Against raters that shift a disc: right marginals, wrong shapes."""
  y, x = np.mgrid[:32, :32]
  masks = np.stack([(y - 16) ** 2 + (x - 12 - 3 * r) ** 2 < 60 for r in range(4)])[None]
  drew = np.ones((1, 4), bool)
  probs = bounds.mean_field(jax.random.split(jax.random.key(1), 1), masks, drew, 64)
  field = unit_scores(cases.jit_count(probs, masks, drew))
  raters = unit_scores(cases.jit_count(np.eye(2)[masks.astype(int)], masks, drew))
  assert field['ece'] < 0.02
  assert field['ged'] > raters['ged'] + 0.03
  assert field['dice_max'] < 0.9
