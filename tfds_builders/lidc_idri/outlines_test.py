import hypothesis
import numpy as np
from hypothesis import strategies as st

from tfds_builders.lidc_idri.annotations import Outline
from tfds_builders.lidc_idri.dummy_data import circle
from tfds_builders.lidc_idri.outlines import crosses_itself, fill, fits, rasterize, winding

polygons = st.lists(st.tuples(st.integers(-4, 18), st.integers(-4, 18)), min_size=1, max_size=12)


def _count(points, row, column):
  """Signed crossings of a ray to the right, one edge after the other, in exact fractions."""
  turns = 0
  for (y0, x0), (y1, x1) in zip(points, points[1:] + points[:1], strict=True):
    if (y0 <= row) != (y1 <= row):
      sign = 1 if y1 > y0 else -1
      beyond = (column - x0) * (y1 - y0) * sign < (row - y0) * (x1 - x0) * sign
      turns += sign * beyond
  return turns


@hypothesis.given(polygons, st.tuples(st.integers(-2, 3), st.integers(-2, 3)))
@hypothesis.settings(max_examples=80, deadline=None)
def test_winding_against_brute_force(points, origin):
  found = winding(np.array(points), (14, 15), origin)
  expected = [
    [_count(points, row + origin[0], column + origin[1]) for column in range(15)]
    for row in range(14)
  ]
  np.testing.assert_array_equal(found, expected)


@hypothesis.given(polygons, st.integers(0, 11))
@hypothesis.settings(max_examples=80, deadline=None)
def test_fill_does_not_depend_on_start_or_direction(points, shift):
  shift %= len(points)
  mask = fill(np.array(points), (16, 16))
  np.testing.assert_array_equal(mask, fill(np.array(points[shift:] + points[:shift]), (16, 16)))
  closed = np.array([*points, points[0]])
  np.testing.assert_array_equal(mask, fill(closed, (16, 16)))


def test_outline_lies_outside():
  square = np.array([(2, 2), (2, 6), (6, 6), (6, 2)])
  top, right = [(2, c) for c in range(2, 6)], [(r, 6) for r in range(2, 6)]
  bottom, left = [(6, c) for c in range(6, 2, -1)], [(r, 2) for r in range(6, 2, -1)]
  ring = np.array(top + right + bottom + left)
  mask = fill(ring, (10, 10))
  assert mask.sum() == 9
  assert mask[3:6, 3:6].all()
  assert fill(ring, (10, 10), include_outline=True).sum() == 25
  assert not fill(square, (10, 10))[[2, 2, 6, 6], [2, 6, 6, 2]].any()


def test_a_disk_has_its_area():
  mask = fill(np.array(circle(40, 40, 21)), (80, 80))
  assert abs(mask.sum() / (np.pi * 20.5**2) - 1) < 0.02


def test_holes_and_pieces():
  outer = Outline(0.0, '', True, np.array(circle(40, 40, 20)))
  hole = Outline(0.0, '', False, np.array(circle(40, 40, 8)))
  far = Outline(0.0, '', True, np.array(circle(70, 70, 5)))
  whole = rasterize([outer], (90, 90))
  for order in ([outer, hole, far], [hole, far, outer]):
    mask = rasterize(order, (90, 90))
    assert not mask[40, 40]
    assert mask[32, 40]  # an outline pixel of the hole belongs to the nodule
    assert mask[70, 70]
    assert mask[:60, :60].sum() == whole.sum() - fill(hole.points, (90, 90)).sum()
  assert rasterize([outer], (90, 90), include_outline=True).sum() > whole.sum()


def test_a_window_is_a_cut_of_the_whole():
  outline = Outline(0.0, '', True, np.array(circle(40, 45, 20)))
  whole = rasterize([outline], (90, 90))
  for origin in ((30, 30), (45, 50), (-5, -5)):
    part = rasterize([outline], (40, 40), origin)
    padded = np.pad(whole, 5)[origin[0] + 5 :, origin[1] + 5 :][:40, :40]
    np.testing.assert_array_equal(part, padded)


def test_self_crossing():
  assert not crosses_itself(np.array(circle(40, 45, 20)))
  assert crosses_itself(np.array([(0, 0), (8, 8), (8, 0), (0, 8)]))
  twice = circle(40, 45, 20)
  assert crosses_itself(np.array(twice + twice))


def test_an_outline_may_leave_the_image_by_its_own_pixel():
  assert fits(np.array([(-1, 3), (3, -1), (10, 5)]), (10, 12))
  assert not fits(np.array([(-2, 3), (3, 3), (5, 5)]), (10, 12))
  assert not fits(np.array([(1, 3), (3, 13), (5, 5)]), (10, 12))
