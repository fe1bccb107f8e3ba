import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirater_jax.data import crops


def blank(height, width, marked=()):
  masks = np.zeros((2, height, width), np.uint8)
  for row, column in marked:
    masks[1, row, column] = 1
  return {'masks': masks, 'foreground': np.flatnonzero(masks.any(axis=0))}


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 20))
def test_tiles_own_every_pixel_of_an_axis_once(length, size, margin):
  margin = min(margin, (size - 1) // 2)
  before = max(0, size - length) // 2
  owned = np.zeros(max(length, size), int)
  for start, begin, end in crops.tile_spans(length, size, margin):
    assert 0 <= start <= max(0, length - size)
    assert start <= begin < end <= start + size
    assert begin in (0, before) or begin - start >= margin
    assert end in (before + length,) or start + size - end >= margin
    owned[begin:end] += 1
  assert (owned[before : before + length] == 1).all()
  assert owned.sum() == length


@given(st.integers(1, 100), st.integers(1, 64))
def test_the_center_span_owns_what_is_inside(length, size):
  ((start, begin, end),) = crops.center_span(length, size)
  assert end - begin == min(length, size)
  assert start == (length - size) // 2 if length >= size else start == 0


@given(st.integers(2, 50), st.integers(2, 50), st.integers(1, 64))
def test_padding_mirrors_and_keeps_the_content(height, width, size):
  array = np.arange(height * width).reshape(1, height, width)
  padded = crops.pad(array, size)
  assert padded.shape == (1, max(height, size), max(width, size))
  row, column = max(0, size - height) // 2, max(0, size - width) // 2
  np.testing.assert_array_equal(padded[:, row : row + height, column : column + width], array)
  if row:
    np.testing.assert_array_equal(padded[:, row - 1], padded[:, row + 1])


@given(st.integers(0, 2**31), st.integers(5, 80), st.integers(5, 80), st.integers(1, 64))
def test_crops_stay_inside(seed, height, width, size):
  rng = np.random.default_rng(seed)
  record = blank(height, width, [(height - 1, 2)])
  for row, column in (
    crops.near_center(rng, record, size, jitter=8),
    crops.anywhere(rng, record, size, foreground_probability=0.5),
  ):
    assert 0 <= row <= max(0, height - size)
    assert 0 <= column <= max(0, width - size)


@given(st.integers(0, 2**31), st.integers(0, 59), st.integers(0, 39), st.integers(1, 50))
def test_a_foreground_crop_holds_the_marked_pixel(seed, row, column, size):
  record = blank(60, 40, [(row, column)])
  rng = np.random.default_rng(seed)
  top, left = crops.anywhere(rng, record, size, foreground_probability=1.0)
  assert top <= row < top + size
  assert left <= column < left + size


@pytest.mark.parametrize('probability,low,high', [(0.0, 0, 40), (1.0, 200, 200)])
def test_foreground_probability_is_the_share_of_crops_with_foreground(probability, low, high):
  record = blank(200, 200, [(100, 100)])
  rng = np.random.default_rng(0)
  hits = 0
  for _ in range(200):
    row, column = crops.anywhere(rng, record, 20, foreground_probability=probability)
    hits += record['masks'][:, row : row + 20, column : column + 20].any()
  assert low <= hits <= high


def test_jitter_bounds_the_distance_from_the_center():
  rng = np.random.default_rng(0)
  record = blank(128, 100)
  drawn = np.array([crops.near_center(rng, record, 64, jitter=8) for _ in range(300)])
  assert drawn.min(axis=0).tolist() == [24, 10]
  assert drawn.max(axis=0).tolist() == [40, 26]
