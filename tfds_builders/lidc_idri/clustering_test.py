import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tfds_builders.lidc_idri.clustering import cluster, distances

points = st.lists(st.tuples(*[st.integers(0, 12).map(float)] * 3), min_size=1, max_size=5).map(
  np.array
)


def _line(*places):
  return [np.array([[0.0, 0.0, float(place)]]) for place in places]


@hypothesis.given(st.lists(points, max_size=7), st.floats(0.5, 6))
@hypothesis.settings(max_examples=60, deadline=None)
def test_distances_against_brute_force(annotations, bound):
  found = distances(annotations, bound)
  for first, one in enumerate(annotations):
    for second, other in enumerate(annotations):
      exact = np.linalg.norm(one[:, None] - other[None], axis=-1).min()
      exact = 0.0 if first == second else exact
      assert found[first, second] == pytest.approx(exact if exact <= bound else np.inf)


@hypothesis.given(st.lists(points, min_size=1, max_size=9), st.floats(0.5, 6), st.randoms())
@hypothesis.settings(max_examples=60, deadline=None)
def test_groups_are_a_partition_that_order_does_not_change(annotations, tolerance, random):
  groups = cluster(annotations, tolerance=tolerance, limit=4)
  assert sorted(index for group in groups for index in group) == list(range(len(annotations)))
  order = list(range(len(annotations)))
  random.shuffle(order)
  again = cluster([annotations[index] for index in order], tolerance=tolerance, limit=4)
  assert {frozenset(order[index] for index in group) for group in again} == set(
    map(frozenset, groups)
  )


def test_components_and_order():
  assert cluster([], tolerance=1, limit=4) == []
  assert cluster(_line(5, 0, 1, 6, 2), tolerance=1, limit=4) == [[1, 2, 4], [0, 3]]
  assert cluster(_line(0, 1.01), tolerance=1, limit=4) == [[0], [1]]


def test_a_group_larger_than_the_sessions_is_cut():
  places = _line(0, 0.1, 0.2, 2.0, 2.1, 2.2)
  assert cluster(places, tolerance=2, limit=6) == [[0, 1, 2, 3, 4, 5]]
  assert cluster(places, tolerance=2, limit=4) == [[0, 1, 2], [3, 4, 5]]


def test_what_cannot_be_cut_stays_whole():
  assert cluster(_line(0, 0, 0, 0, 0), tolerance=2, limit=4) == [[0, 1, 2, 3, 4]]


def test_groups_by_hand():
  places = _line(0, 0.1, 0.2, 9.0)
  assert cluster(places, tolerance=2, limit=4, fixed=[[1, 3]]) == [[0, 2], [1, 3]]
