import jax
import jax.numpy as jnp
import numpy as np

from multirater_jax.diffusion import rows


def keys(count):
  return jax.random.split(jax.random.key(0), count)


def test_folding_keeps_the_samples_of_an_image_together():
  x = jnp.arange(24).reshape(2, 3, 4)
  folded = rows.fold(x)
  np.testing.assert_array_equal(folded[3], x[1, 0])
  np.testing.assert_array_equal(rows.unfold(folded, 3), x)
  np.testing.assert_array_equal(rows.repeat(x[:, 0], 3), jnp.repeat(x[:, 0], 3, axis=0))


def test_keys_of_samples_differ_and_do_not_depend_on_other_images():
  many = rows.sample_keys(keys(3), 4)
  data = np.asarray(jax.random.key_data(many)).reshape(12, -1)
  assert len({tuple(row) for row in data}) == 12
  one = rows.sample_keys(keys(3)[1:2], 4)
  np.testing.assert_array_equal(jax.random.key_data(one)[0], data.reshape(3, 4, -1)[1])


def test_times_cover_the_chain_evenly():
  times = np.asarray(rows.random_times(keys(500), 20, 4))
  assert times.min() == 1 and times.max() == 20
  counts = np.bincount(times.ravel(), minlength=21)[1:]
  assert np.abs(counts - 100).max() < 45  # 2,000 times over 20 steps
  spread = np.sort(times, axis=1)
  assert (np.diff(spread, axis=1) == 5).all()  # a quarter of the chain apart


def test_levels_are_shaped_for_any_map():
  x = jnp.zeros((3, 4, 4, 2))
  assert rows.spread(jnp.ones(3), x).shape == (3, 1, 1, 1)
  assert rows.spread(jnp.ones(()), x).shape == (1, 1, 1, 1)
