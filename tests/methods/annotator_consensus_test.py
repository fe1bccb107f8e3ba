import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.methods.annotator_consensus import choose_level, count_votes, interpolate


def test_votes_are_those_of_the_annotated_raters():
  masks = jnp.array([[0, 1, 2], [1, 1, 2], [2, 1, 2]])[None, :, :, None]  # b r h w
  votes = count_votes(masks, jnp.array([[True, True, False]]), 3)
  np.testing.assert_array_equal(votes[0, :, 0], [[1, 0], [2, 0], [0, 2]])


def test_levels_are_drawn_evenly_up_to_the_number_of_raters_present():
  annotated = jnp.broadcast_to(jnp.array([True, False, True, True]), (900, 4))
  keys = jax.random.split(jax.random.key(0), 900)
  counts = np.bincount(choose_level(keys, annotated), minlength=5)
  assert counts[0] == counts[4] == 0
  np.testing.assert_allclose(counts[1:4] / 900, 1 / 3, atol=0.06)
  np.testing.assert_array_equal(choose_level(keys, annotated & False), 1)


@pytest.mark.parametrize('raters', [1, 2, 5])
def test_with_all_raters_a_level_is_one_embedding(raters):
  level = jnp.arange(1, raters + 1)[None]
  weights = interpolate(level, jnp.array([[raters]]), raters)
  np.testing.assert_allclose(weights[0], np.eye(raters), atol=1e-6)


def test_with_fewer_it_stands_between_two():
  weights = interpolate(jnp.array([[1, 2]]), jnp.array([[2]]), 4)
  np.testing.assert_allclose(weights[0], [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], atol=1e-6)
  middle = interpolate(jnp.array([[1]]), jnp.array([[1]]), 3)
  np.testing.assert_allclose(middle[0, 0], [0, 1, 0], atol=1e-6)
