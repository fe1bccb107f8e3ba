import cases
import numpy as np
import pytest

from multirater_jax.metrics import unit_scores
from multirater_jax.metrics.score import score
from multirater_jax.metrics.surface import surface_scores

RNG = np.random.default_rng(0)
SAMPLES = RNG.random((5, 9, 10)).astype(np.float32)
MASKS = RNG.integers(0, 2, (3, 9, 10))


def test_an_image_is_its_counts_and_surfaces():
  scores = score(SAMPLES, MASKS, personalized=SAMPLES[:3], spacing=(0.5, 2.0))
  probs = np.stack([1 - SAMPLES, SAMPLES], -1)[None]
  drew = np.ones((1, 3), bool)
  columns = unit_scores(
    cases.jit_count(probs, MASKS[None], drew), cases.jit_count(probs[:, :3], MASKS[None], drew)
  )
  for name, values in columns.items():
    assert scores[name] == pytest.approx(values[0], abs=1e-6), name
  consensus = SAMPLES.mean(0) > 0.5
  surfaces = [surface_scores(consensus, mask > 0, (0.5, 2.0)) for mask in MASKS]
  own = [surface_scores(p > 0.5, m > 0, (0.5, 2.0)) for p, m in zip(SAMPLES, MASKS)]
  for name, value in zip(('hd95', 'assd', 'nsd'), np.mean(surfaces, 0)):
    assert scores[name] == pytest.approx(value)
  for name, value in zip(('hd95_rater', 'assd_rater', 'nsd_rater'), np.mean(own, 0)):
    assert scores[name] == pytest.approx(value)
  assert all(isinstance(value, float) for value in scores.values())


def test_a_class_axis_of_two_changes_nothing():
  both = np.stack([1 - SAMPLES, SAMPLES], -1)
  assert score(both, MASKS) == pytest.approx(score(SAMPLES, MASKS), nan_ok=True)


def test_a_volume_of_one_slice_is_the_image():
  image = score(SAMPLES, MASKS, spacing=(1, 2))
  volume = score(SAMPLES[:, None], MASKS[:, None], spacing=(9, 1, 2))
  assert volume == pytest.approx(image, nan_ok=True)


def test_more_classes():
  shape = cases.Shape(units=1, samples=3, raters=3, classes=4, depth=2, size=(8, 8))
  probs, masks, _ = cases.random_units(0, shape)
  scores = score(probs[0], masks[0], personalized=probs[0])
  assert 0 <= scores['ged'] <= 2
  assert scores['dice_rater_2'] >= 0
  assert scores['hd95'] > 0


def test_missing_raters_and_dtypes():
  drew = [True, False, True]
  one = score(SAMPLES > 0.5, MASKS.astype(bool), drew)
  two = score((SAMPLES > 0.5).astype(float), MASKS[[0, 2]].astype(float))
  for name in one:
    assert one[name] == pytest.approx(two[name], abs=1e-6, nan_ok=True), name


def test_one_sample_and_one_rater():
  scores = score(MASKS[:1], MASKS[:1])
  assert scores['ged'] == 0
  assert scores['dice_match'] == scores['hm_iou'] == 1
  assert np.isnan(scores['ged_unbiased'])


BAD = {
  'samples hold NaN': {'samples': np.full((5, 9, 10), np.nan)},
  'samples hold values from -0.1 to 1': {'samples': np.linspace(-0.1, 1, 450).reshape(5, 9, 10)},
  'samples hold values from 0 to 1.1': {'samples': np.linspace(0, 1.1, 450).reshape(5, 9, 10)},
  'samples hold values from 0 to inf': {'samples': np.where(SAMPLES > 0.5, np.inf, 0)},
  'there is none': {'samples': SAMPLES[:0]},
  r'samples have shape \(9, 10\)': {'samples': SAMPLES[0]},
  r'samples have shape \(5, 9, 9\)': {'samples': SAMPLES[..., 1:]},
  'do not sum to 1': {'samples': np.ones((5, 9, 10, 3))},
  '1 classes that do not': {'samples': np.ones((5, 9, 10, 1))},
  r'masks have shape \(9, 10\)': {'masks': MASKS[0]},
  r'masks have shape \(0, 9, 10\)': {'masks': MASKS[:0]},
  'not class numbers from 0 to 1': {'masks': MASKS * 2},
  'not class numbers': {'masks': MASKS * 0.5},
  'masks hold values': {'masks': np.where(MASKS, np.nan, 0)},
  'not class numbers from': {'masks': -MASKS},
  'annotated is false for every rater': {'annotated': [False] * 3},
  r'annotated has shape \(2,\)': {'annotated': [True] * 2},
  '5 personalized outputs for 3 raters': {'personalized': SAMPLES},
  'personalized hold NaN': {'personalized': SAMPLES[:3] * np.nan},
  'have 3 classes and samples have 2': {'personalized': np.full((3, 9, 10, 3), 1 / 3)},
  'give 2 positive numbers': {'spacing': (1.0, 0.0)},
  'protocol is': {'protocol': 'paper'},
}


@pytest.mark.parametrize('message', BAD)
def test_bad_input_is_one_clear_sentence(message):
  with pytest.raises(ValueError, match=message) as error:
    score(**({'samples': SAMPLES, 'masks': MASKS} | BAD[message]))
  assert '\n' not in str(error.value)
