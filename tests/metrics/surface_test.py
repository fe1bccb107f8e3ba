import numpy as np
import pytest
from scipy.spatial.distance import cdist

from multirater_jax.metrics.surface import surface_scores, unit_surface_scores


def border(mask):
  """Pixels with a face neighbor outside, by looking at every neighbor."""
  padded = np.pad(mask, 1)
  inside = mask.copy()
  for axis in range(mask.ndim):
    for step in (-1, 1):
      shifted = np.roll(padded, step, axis)
      inside &= shifted[tuple(slice(1, -1) for _ in range(mask.ndim))]
  return np.argwhere(mask & ~inside)


@pytest.mark.parametrize(
  ('size', 'spacing'), [((12, 15), None), ((9, 11), (0.5, 2.0)), ((5, 7, 6), (3.0, 0.7, 0.7))]
)
def test_equals_all_pairs_of_border_pixels(size, spacing):
  rng = np.random.default_rng(0)
  scale = np.ones(len(size)) if spacing is None else np.array(spacing)
  for _ in range(150):
    a, b = (rng.random(size) < rng.choice([0.02, 0.3, 0.8]) for _ in range(2))
    if not (a.any() and b.any()):
      continue
    distances = cdist(border(a) * scale, border(b) * scale)
    there, back = distances.min(1), distances.min(0)
    scores = surface_scores(a, b, spacing)
    every = np.concatenate([there, back])
    assert scores.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert scores.assd == pytest.approx(every.mean())
    assert scores.nsd == pytest.approx((every <= 1.0 + 1e-9).mean())


def test_conventions_for_empty_masks():
  empty, some = np.zeros((4, 5), bool), np.eye(4, 5, dtype=bool)
  assert surface_scores(empty, empty) == (0, 0, 1)
  diagonal = np.hypot(3 * 2.0, 4 * 0.5)
  assert surface_scores(empty, some, (2.0, 0.5)) == pytest.approx((diagonal, diagonal, 0))
  assert surface_scores(some, empty, (2.0, 0.5)) == pytest.approx((diagonal, diagonal, 0))


def test_units_are_millimeters():
  a, b = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
  a[5:8, 5:8] = True
  b[5:8, 9:12] = True
  one, fine = surface_scores(a, b, (1, 1)), surface_scores(a, b, (0.25, 0.25))
  assert fine.hd95 == pytest.approx(one.hd95 / 4)
  assert fine.nsd > one.nsd


def test_mean_over_annotated_raters_and_classes():
  rng = np.random.default_rng(1)
  masks = rng.integers(0, 3, (3, 8, 8))
  drew = np.array([True, False, True])
  consensus = rng.integers(0, 3, (1, 8, 8))
  expected = np.mean(
    [surface_scores(consensus[0] == k, masks[r] == k) for r in (0, 2) for k in (1, 2)], axis=0
  )
  np.testing.assert_allclose(unit_surface_scores(consensus, masks, drew, num_classes=3), expected)
  own = np.mean(
    [surface_scores(masks[r - 1] == k, masks[r] == k) for r in (0, 2) for k in (1, 2)], axis=0
  )
  np.testing.assert_allclose(
    unit_surface_scores(np.roll(masks, 1, 0), masks, drew, num_classes=3), own
  )
  assert np.isnan(unit_surface_scores(consensus, masks, np.zeros(3, bool))).all()


@pytest.mark.parametrize('spacing', [(1.0,), (1.0, 0.0), (1.0, np.nan)])
def test_bad_spacing_is_refused(spacing):
  with pytest.raises(ValueError, match='positive numbers in mm'):
    surface_scores(np.ones((3, 3), bool), np.ones((3, 3), bool), spacing)


def test_other_shapes_are_refused():
  with pytest.raises(ValueError, match='same grid'):
    surface_scores(np.ones((3, 3), bool), np.ones((3, 4), bool))
