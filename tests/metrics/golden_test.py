"""The golden cases of the published evaluation code, re-derived on an 8 x 8 grid."""

import numpy as np
import pytest

from multirater_jax.metrics.score import score


def square(a, b):
  mask = np.zeros((8, 8))
  mask[a:b, a:b] = 1
  return mask


EMPTY = np.zeros((8, 8))
RATERS = [square(1, 5), square(2, 5), square(1, 6), EMPTY]
CASES = {
  'A': (RATERS, [square(1, 6), square(1, 5), square(2, 6), EMPTY]),
  'B': ([EMPTY] * 4, [EMPTY] * 4),
  'D': (RATERS, RATERS),
  'E': (RATERS, [0.9 * square(1, 6), 0.6 * square(1, 5), 0.4 * square(2, 6), 0.2 + EMPTY]),
}
GOLDEN = {
  'A': {
    'ged': 0.0546875,
    'ged_dpersona': 0.0546875,
    'dice_max_samples': 0.945122,
    'dice_max_raters': 0.93,
    'dice_match': 0.93,
    'dice_rater': 0.820244,
    'dice_soft': 0.964103,
  },
  'B': {
    'ged': 0,
    'ged_cross': 0,
    'ged_samples': 0,
    'ged_raters': 0,
    'ged_dpersona': 0,
    'ged_dpersona_cross': 1,
    'ged_dpersona_samples': 1,
    'ged_dpersona_raters': 1,
    'dice_max_samples': 1,
    'dice_max_raters': 1,
    'dice_match': 1,
    'dice_rater': 1,
    'dice_soft': 1,
  },
  'D': {
    'ged': 0,
    'ged_cross': 0.554688,
    'ged_dpersona': 0,
    'ged_dpersona_cross': 0.617188,
    'dice_max_samples': 1,
    'dice_max_raters': 1,
    'dice_match': 1,
    'dice_rater': 1,
    'dice_soft': 1,
  },
  'E': {
    'ged': 0.125,
    'ged_dpersona': 0.0625,
    'dice_max_samples': 1,
    'dice_max_raters': 0.93,
    'dice_match': 0.75,
    'dice_rater': 0.625122,
    'dice_soft': 0.764103,
    'dice_soft_hard': 0.6,
  },
}


def run(case, protocol='standard'):
  masks, samples = (np.array(part) for part in CASES[case])
  return score(samples, masks, personalized=samples, protocol=protocol)


@pytest.mark.parametrize('case', GOLDEN)
def test_golden(case):
  scores = run(case)
  for name, expected in GOLDEN[case].items():
    np.testing.assert_allclose(scores[name], expected, rtol=0, atol=1e-6, err_msg=name)
  assert scores['dice_max'] == pytest.approx(
    (scores['dice_max_samples'] + scores['dice_max_raters']) / 2, abs=1e-7
  )


def test_protocol_dpersona():
  scores = run('E', 'dpersona')
  assert scores['ged'] == pytest.approx(0.0625, abs=1e-6)
  assert scores['ged'] == scores['ged_dpersona']
  assert scores['ged_cross'] == scores['ged_dpersona_cross']
  assert scores['dice_each'] == scores['dice_match'] == pytest.approx(0.75, abs=1e-6)
  assert scores['dice_soft'] == pytest.approx(0.764103, abs=1e-6)


def test_protocol_diffoseg():
  scores = run('E', 'diffoseg')
  assert scores['dice_match_tiled'] == pytest.approx(0.93, abs=1e-6)
  assert scores['dice_match'] == pytest.approx(0.75, abs=1e-6)
  assert scores['dice_max'] == scores['dice_max_raters']
  assert scores['dice_soft'] == pytest.approx(0.6, abs=1e-6)
  assert scores['ged'] == pytest.approx(0.0625, abs=1e-6)


def test_tiled_matching_is_what_tiling_gives():
  rng = np.random.default_rng(0)
  masks = rng.integers(0, 2, (4, 8, 8))
  outputs = rng.integers(0, 2, (4, 8, 8))
  tiled = score(np.tile(outputs, (4, 1, 1)), masks)['dice_match']
  assert score(outputs, masks, protocol='diffoseg')['dice_match_tiled'] == pytest.approx(
    tiled, abs=1e-6
  )


def test_unknown_protocol_is_refused():
  with pytest.raises(ValueError, match='standard, dpersona, diffoseg'):
    run('A', 'other')
