import numpy as np
import pytest
import small_run

from multirater_jax.model import Model


@pytest.fixture(scope='module')
def model():
  method = small_run.by_rule(num_classes=2, num_raters=3, dtype=None)
  return Model(method, {'level': np.float32(0.1)}, ('anna', 'ben', '7'), 2, 16, None, False, None)


@pytest.fixture
def image():
  return np.random.default_rng(0).integers(0, 256, (20, 33), dtype=np.uint8)


def test_predictions_have_the_size_of_the_image(model, image):
  found = model.predict(image, 5, seed=3)
  assert found.samples.shape == (5, 20, 33, 2)
  assert found.raters.shape == (3, 20, 33, 2)
  np.testing.assert_allclose(found.consensus, found.samples.mean(0))
  assert found.entropy.min() >= 0 and found.entropy.max() <= np.log(2) + 1e-6
  assert 0 < found.disagreement.max() <= 0.25


def test_a_seed_repeats_its_samples_and_another_does_not(model, image):
  first, again, other = (model.sample(image, 4, seed) for seed in (0, 0, 1))
  assert (first == again).all()
  assert (first != other).any()


def test_all_windows_share_a_draw(model):
  flat = np.full((16, 64), 100, np.uint8)  # every window sees the same
  samples = model.sample(flat, 6)[..., 1]
  assert np.ptp(samples, axis=(1, 2)).max() < 1e-5
  assert np.ptp(samples[:, 0, 0]) > 0.1


def test_raters_by_name_and_by_number(model, image):
  everyone = model.personalize(image)
  np.testing.assert_array_equal(model.personalize(image, ['ben', 1]), everyone[[1, 0]])
  np.testing.assert_array_equal(model.personalize(image, ['7']), everyone[[2]])  # a name first
  np.testing.assert_array_equal(model.personalize(image, style=np.eye(3)[1:]), everyone[1:])


def test_a_model_of_whole_slices_resizes_them(model, image):
  whole = model._replace(whole=True)
  found = whole.predict(image, 2)
  assert found.raters.shape == (3, 20, 33, 2)
  np.testing.assert_allclose(found.samples.sum(-1), 1, atol=1e-5)
  square = np.full((16, 16), 90, np.uint8)
  np.testing.assert_allclose(whole.sample(square, 3), model.sample(square, 3), atol=1e-6)


def test_what_is_not_there_is_said(model, image):
  with pytest.raises(ValueError, match='no rater "carl"; there are anna, ben, 7'):
    model.personalize(image, ['carl'])
  with pytest.raises(ValueError, match='takes no prompt'):
    model.personalize(image, prompt='wide')
  with pytest.raises(ValueError, match='raters or a prompt, not both'):
    model.predict(image, raters=[1], prompt='wide')
  alone = model._replace(method=model.method._replace(personalize=None))
  with pytest.raises(ValueError, match='makes no personalized masks'):
    alone.personalize(image)
  assert alone.predict(image, 2).raters is None
