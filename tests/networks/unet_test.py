import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.networks.trunks import TRUNKS, make_trunk
from multirater_jax.networks.unet import (
  ConvBlock,
  UNet,
  average_pool,
  depth_to_space,
  space_to_depth,
  upsample,
)


def shaped(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def images(*shape):
  return jnp.asarray(np.random.default_rng(0).random(shape, np.float32))


def key():
  return jax.random.key(0, impl='unsafe_rbg')


@pytest.mark.parametrize('factor', [1, 2, 4])
def test_squares_become_channels_and_come_back(factor):
  x = images(2, 8, 12, 3)
  folded = space_to_depth(x, factor)
  assert folded.shape == (2, 8 // factor, 12 // factor, 3 * factor**2)
  corner = x[:, :factor, :factor]
  np.testing.assert_array_equal(folded[:, 0, 0], corner.reshape(2, -1))
  np.testing.assert_array_equal(depth_to_space(folded, factor), x)


def test_pooling_is_the_mean_of_squares_and_undoes_upsampling():
  x = images(2, 4, 6, 3)
  pooled = average_pool(x)
  np.testing.assert_allclose(pooled[1, 1, 2], x[1, 2:4, 4:6].mean((0, 1)), rtol=1e-6)
  np.testing.assert_array_equal(upsample(x, 3)[:, 2::3, 1::3], x)
  np.testing.assert_allclose(average_pool(upsample(x, 2)), x, rtol=1e-6)


@pytest.mark.parametrize('patch', [1, 2])
def test_levels_run_from_coarse_to_fine_and_features_have_full_size(patch):
  net = UNet(widths=(8, 16, 24), patch=patch, features=5)
  features, params = jax.eval_shape(net.init_with_output, key(), shaped(2, 16, 32, 3))
  sizes = [(2, 16 // f // patch, 32 // f // patch, w) for f, w in [(2, 16), (1, 8)]]
  assert [level.shape for level in features.levels] == sizes
  assert features.full.shape == (2, 16, 32, 5)
  assert ('mend_seams' in params['params']) == (patch > 1)


def test_image_that_cannot_be_halved_is_refused():
  for shape in [(1, 12, 16, 1), (1, 16, 20, 1)]:
    with pytest.raises(ValueError, match='multiples of 8'):
      jax.eval_shape(UNet(widths=(8, 8, 8), patch=2).init, key(), shaped(*shape))


def test_what_the_hook_returns_goes_on():
  net = UNet(widths=(8, 8, 8), convs=1, features=4)
  image = images(1, 8, 8, 1)
  params = jax.jit(net.init)(key(), image)
  seen = []

  def hook(level, x):
    seen.append(level)
    return x * 0 if level == 1 else x

  plain = jax.jit(net.apply)(params, image)
  hooked = jax.jit(lambda *args: net.apply(*args, hook))(params, image)
  assert seen == [0, 1]
  np.testing.assert_array_equal(hooked.levels[0], plain.levels[0])
  np.testing.assert_array_equal(hooked.full, np.zeros_like(hooked.full))
  assert np.abs(plain.full).max() > 0


@pytest.mark.parametrize('width', [3, 8, 24])
def test_block_is_normalized_by_groups_of_one_image(width):
  x = images(2, 8, 8, 4)
  block = ConvBlock(width, convs=1)
  params = jax.jit(block.init)(key(), x)
  apply = jax.jit(block.apply)
  out = apply(params, x)
  assert out.shape == (2, 8, 8, width) and out.min() == 0
  # Group norm sees one image alone, and no scale of it.
  np.testing.assert_allclose(apply(params, 100 * x[::-1])[1], out[0], atol=1e-4)


def test_compute_dtype_leaves_the_parameters_float32():
  net = UNet(widths=(8, 16), patch=2, dtype=jnp.bfloat16)
  features, params = jax.eval_shape(net.init_with_output, key(), shaped(1, 8, 8, 1))
  assert {leaf.dtype for leaf in jax.tree.leaves(features)} == {jnp.dtype(jnp.bfloat16)}
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


def test_trunks_are_built_by_name():
  assert make_trunk('unet', widths=(8, 8), dtype=jnp.bfloat16) == UNet((8, 8), dtype=jnp.bfloat16)
  for name in TRUNKS:
    assert isinstance(make_trunk(name), TRUNKS[name])


def test_wrong_trunks_and_arguments_are_named():
  with pytest.raises(ValueError, match='no trunk "vgg"; choose one of unet, resnet34'):
    make_trunk('vgg')
  with pytest.raises(ValueError, match='"unet" has no argument depth; it takes widths, '):
    make_trunk('unet', depth=3)
