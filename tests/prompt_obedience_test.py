import numpy as np
import pytest

from multirater_jax import prompt_obedience


def test_rising_counts_images_that_never_fall_and_end_higher():
  areas = np.array([[1, 2, 2, 5], [1, 3, 2, 5], [2, 2, 2, 2], [0, 0, 0, 1]], float)
  found = prompt_obedience.rising(areas)
  assert found['monotone'] == 0.5
  np.testing.assert_allclose(found['areas'], areas.mean(0))


def test_ordered_counts_images_and_paraphrases():
  areas = np.array([[[1, 2, 3], [3, 2, 4]], [[1, 1, 2], [3, 2, 1]]], float)
  assert prompt_obedience.ordered(areas) == {'ordered': 0.25, 'ordered_ends': 0.75}


def test_outline_of_a_square_and_of_nothing():
  found = prompt_obedience.outline(np.array([[25.0, 0.0]]), np.array([[20.0, 0.0]]))
  np.testing.assert_allclose(found, [[4.0, 0.0]])


@pytest.mark.parametrize('areas', [np.ones((3, 5)), np.zeros((3, 5))])
def test_areas_that_never_change_are_not_rising(areas):
  assert prompt_obedience.rising(areas)['monotone'] == 0
