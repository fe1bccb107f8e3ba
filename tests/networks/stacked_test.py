import jax
import jax.numpy as jnp
import numpy as np

from multirater_jax.networks.projection_heads import ProjectionHeads, mix_bank
from multirater_jax.networks.stacked import StackedConv, one_hot_style, same_style


def key():
  return jax.random.key(0, impl='unsafe_rbg')


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_a_one_hot_style_is_that_raters_convolution():
  layer, x = StackedConv(3, 5), normal(0, 2, 1, 6, 7, 4)
  params = jax.jit(layer.init)(key(), x, jnp.zeros((2, 1, 3)))['params']
  params = jax.tree.map(lambda leaf: leaf + normal(1, *leaf.shape), params)
  rater = jnp.array([2, 0])
  actual = jax.jit(layer.apply)({'params': params}, x, one_hot_style(rater, 3))
  for row, number in enumerate(rater):
    expected = jax.lax.conv_general_dilated(
      x[row],
      params['kernel'][number].reshape(3, 3, 4, 5),
      (1, 1),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    np.testing.assert_allclose(actual[row], expected + params['bias'][number], atol=1e-4)


def test_a_mixture_of_raters_mixes_their_layers():
  layer, x = StackedConv(2, 3), jnp.broadcast_to(normal(0, 1, 1, 4, 4, 2), (1, 3, 4, 4, 2))
  style = same_style(jnp.array([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]]), 1)
  params = jax.jit(layer.init)(key(), x, style)
  one, two, mixed = jax.jit(layer.apply)(params, x, style)[0]
  np.testing.assert_allclose(mixed, 0.25 * one + 0.75 * two, atol=1e-5)


def test_common_styles_give_the_values_and_gradients_of_own_ones():
  layer, x = StackedConv(3, 5), normal(0, 2, 4, 6, 7, 3)
  style = normal(1, 4, 3)
  params = jax.jit(layer.init)(key(), x, style)
  params = jax.tree.map(lambda leaf: leaf + normal(2, *leaf.shape), params)

  def total(params, x, style):
    maps = layer.apply(params, x, style)
    return (maps * normal(3, *maps.shape)).sum(), maps

  run = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))
  (_, common), one = run(params, x, style)
  (_, own), other = run(params, x, same_style(style, 2))
  np.testing.assert_allclose(common, own, atol=1e-4)
  for found, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_heads_have_the_parameters_of_the_paper_and_stay_apart():
  heads, x = ProjectionHeads(4, 6), normal(0, 2, 16, 16, 16)
  style = same_style(jnp.eye(4), 2)
  params = jax.jit(heads.init)(key(), x, style)
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 88_128
  queries = jax.jit(heads.apply)(params, x, style)
  assert queries.shape == (2, 4, 6)
  assert np.abs(np.diff(queries, axis=1)).max() > 1e-3
  assert (queries < 0).any()
  changed = jax.tree.map(lambda leaf: leaf.at[1].multiply(1.5), params)
  moved = np.abs(jax.jit(heads.apply)(changed, x, style) - queries).max((0, 2))
  assert moved[1] > 1e-4 and np.delete(moved, 1).max() == 0


def test_an_odd_size_is_halved_too():
  heads, x = ProjectionHeads(2, 3, widths=(4,)), normal(0, 1, 7, 9, 2)
  style = same_style(jnp.eye(2), 1)
  assert np.isfinite(heads.init_with_output(key(), x, style)[0]).all()


def test_a_query_mixes_the_bank():
  bank = normal(0, 1, 5, 3)
  same = mix_bank(jnp.zeros((1, 2, 3)), bank)
  np.testing.assert_allclose(same[0, 0], bank[0].mean(0), atol=1e-6)
  np.testing.assert_allclose(mix_bank(1e3 * bank[:, :1], bank)[0, 0], _farthest(bank), atol=1e-4)


def _farthest(bank):
  """The code with the largest product with the first."""
  return bank[0, np.argmax(np.asarray(bank[0] @ bank[0, 0]))]
