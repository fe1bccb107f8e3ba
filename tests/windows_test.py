import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirater_jax import windows


def bright(squares):
  """Two outputs a window: the share of white, and half of it."""
  white = np.stack([squares[..., 0], squares[..., 0] / 2], axis=1)
  return np.stack([1 - white, white], axis=-1)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_a_rule_of_single_pixels_gives_the_image_back(height, width, overlap):
  image = np.random.default_rng(height).random((height, width, 1), np.float32)
  found = windows.predict(bright, image, size=16, overlap=overlap, batch_size=3)
  assert found.shape == (2, height, width, 2)
  np.testing.assert_allclose(found[0, ..., 1], image[..., 0], atol=1e-5)
  np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_an_image_of_the_windows_size_is_predicted_as_it_is():
  image = np.random.default_rng(0).random((16, 16, 3), np.float32)

  def mean(squares):  # knows more than single pixels
    assert squares.shape == (1, 16, 16, 3)
    white = np.broadcast_to(squares.mean((1, 2, 3), keepdims=True), (1, 16, 16, 1))
    return np.concatenate([1 - white, white], -1)[:, None]

  found = windows.predict(mean, image, size=16)
  assert (found == mean(image[None])[0]).all()


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 0.9))
def test_windows_cover_everything_and_overlap_as_asked(length, size, overlap):
  found = windows.starts(length, size, overlap)
  covered = np.zeros(max(length, size), bool)
  for start in found:
    covered[start : start + size] = True
  assert covered.all()
  assert found[0] == 0 and (len(found) == 1 or found[-1] == length - size)
  if len(found) > 1:
    assert max(np.diff(found)) <= max(size * (1 - overlap), 1) + 1


def test_the_middle_of_a_window_weighs_most_and_no_pixel_nothing():
  weights = windows.gaussian(9)
  assert weights[4, 4] == weights.max() == 1
  assert weights.min() > 0
  np.testing.assert_allclose(weights, weights[::-1, ::-1])


def test_an_overlap_of_all_is_refused():
  with pytest.raises(ValueError, match='cannot overlap by 1'):
    windows.starts(40, 16, 1.0)
