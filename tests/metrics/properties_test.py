"""What must hold for any input; hypothesis looks for the input that breaks it."""

import cases
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from multirater_jax.metrics import unit_scores

S, R = 3, 4
LOW, HIGH = {'ged_unbiased': -2, 'dice_rater_gap': -1, 'ncc': -1}, {'ged': 2, 'ged_dpersona': 2}
PIXELS = st.sampled_from([0.0, 0.2, 0.5, 0.50001, 0.8, 1.0])


def columns(probs, masks, drew):
  probs = np.asarray(probs, np.float32)
  counts = cases.jit_count(np.stack([1 - probs, probs], -1)[None], masks[None], drew[None])
  return unit_scores(counts)


inputs = {
  'probs': npst.arrays(np.float64, (S, 3, 4), elements=PIXELS),
  'masks': npst.arrays(np.uint8, (R, 3, 4), elements=st.integers(0, 1)),
  'drew': npst.arrays(bool, (R,)).filter(np.any),
}


@settings(max_examples=100, deadline=None)
@given(**inputs, order=st.permutations(range(R)), samples=st.permutations(range(S)))
def test_bounds_and_permutations(probs, masks, drew, order, samples):
  scores = columns(probs, masks, drew)
  for name, (value,) in scores.items():
    low, high = LOW.get(name, 0), HIGH.get(name, 2 if name == 'ged_unbiased' else 1)
    assert np.isnan(value) or low - 1e-5 <= value <= high + 1e-5, (name, value)
  assert not np.isnan(scores['ged'][0])
  shuffled = columns(probs[samples], masks[order], drew[order])
  for name in scores:
    np.testing.assert_allclose(shuffled[name], scores[name], rtol=0, atol=1e-5, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(**inputs)
def test_relation_of_the_two_conventions(probs, masks, drew):
  scores = columns(probs, masks, drew)
  gap = (scores['empty_raters'] - scores['empty_samples']) ** 2
  np.testing.assert_allclose(scores['ged_dpersona'], scores['ged'] - gap, rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(masks=inputs['masks'])
def test_raters_as_samples_are_perfect(masks):
  scores = columns(np.array(masks[:S], float), masks[[0, 1, 2, 2]], np.array([1, 1, 1, 0], bool))
  for name, best in {'ged': 0, 'dice_soft': 1, 'dice_max': 1, 'dice_match': 1, 'brier': 0}.items():
    np.testing.assert_allclose(scores[name], best, rtol=0, atol=1e-6, err_msg=name)
