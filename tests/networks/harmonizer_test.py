import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.networks.harmonized_unet import HarmonizedUNet
from multirater_jax.networks.harmonizer import Modulation, modulate, penalty
from multirater_jax.networks.latent_unet import LatentUNet
from multirater_jax.networks.trunks import make_trunk


def key():
  return jax.random.key(0, impl='unsafe_rbg')


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def noisy(params, seed=0, scale=0.3):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: x + scale * rng.normal(size=x.shape).astype(np.float32), params)


def make_model(trunk, **arguments):
  base = LatentUNet(trunk, 2, latent_dim=6, encoder_widths=(8,), encoder_convs=1)
  return HarmonizedUNet(base, num_raters=4, **arguments)


def shapes(model, size=32):
  image = jax.ShapeDtypeStruct((1, size, size, 1), jnp.float32)
  truth = jax.ShapeDtypeStruct((1, size, size, 1), jnp.float32)
  return jax.eval_shape(model.init, key(), image, truth)['params']


@pytest.mark.parametrize('spectrum', ['fft', 'haar'])
def test_add_ons_of_the_trunk_of_the_paper_have_its_budgets(spectrum):
  params = shapes(make_model(make_trunk('resnet34'), spectrum=spectrum))
  assert params['prompts']['reduce']['kernel'].shape[0] == 64  # the decoder's map of 1/4 size
  assert round(count(params['modulation']) / 1e6, 2) == 0.14
  assert round(count(params['prompts']) / 1e6, 2) == 0.07


def test_levels_share_tokens_and_attention():
  modulation = Modulation()
  every = jax.eval_shape(lambda x: modulation.init(key(), 0, x), normal(0, 1, 4, 4, 8))
  names = set(every['params'])
  assert names == {
    'tokens', 'token_norm', 'pixel_norm', 'attention', 'mlp', 'adapter_0', 'output_0'
  }  # fmt: skip
  params = shapes(make_model(make_trunk('unet', widths=(8, 8, 16), convs=1)))['modulation']
  assert set(params) == names | {'adapter_1', 'output_1'}


@pytest.fixture(scope='module')
def small():
  model = make_model(make_trunk('unet', widths=(8, 8, 16), convs=1))
  image = normal(0, 2, 16, 16, 1)
  params = jax.jit(model.init)(key(), image, jnp.zeros((2, 16, 16, 1)))
  return model, params, image


def run(model, params, image):
  return jax.jit(lambda *args: model.apply(*args, method='features'))(params, image)


def test_identity_at_the_start(small):
  model, params, image = small
  features, changed = run(model, params, image)
  plain, nothing = run(model.clone(harmonizer=False), params, image)
  np.testing.assert_array_equal(changed, 0)
  np.testing.assert_array_equal(nothing, 0)
  jax.tree.map(np.testing.assert_array_equal, features, plain)
  assert np.abs(plain.full).max() > 0


def test_every_level_is_changed_once_trained_and_penalized(small):
  model, params, image = small
  params = {'params': params['params'] | {'modulation': noisy(params['params']['modulation'])}}
  features, changed = run(model, params, image)
  plain, _ = run(model.clone(harmonizer=False), params, image)
  for one, two in zip(features.levels, plain.levels, strict=True):
    assert np.abs(one - two).max() > 1e-3
  expected = by_hand(model, params['params'], image)
  assert changed.shape == (2,) and changed.min() > 0
  np.testing.assert_allclose(changed, expected, rtol=1e-4)


def by_hand(model, params, image):
  """The penalty, level by level."""
  parts = []

  def hook(level, x):
    gamma, beta = Modulation().apply({'params': params['modulation']}, level, x)
    parts.append((gamma**2 + beta**2).mean(-1))
    return x * (1 + gamma[:, None, None]) + beta[:, None, None]

  @jax.jit
  def total(image):
    model.base.clone().apply({'params': params['base']}, image, hook, method='features')
    return sum(parts)

  return total(image)


def test_modulation_and_penalty_formulas():
  x, gamma, beta = normal(0, 2, 3, 4, 5), normal(1, 2, 5), normal(2, 2, 5)
  expected = np.asarray(x) * (1 + np.asarray(gamma)[:, None, None]) + beta[:, None, None]
  np.testing.assert_allclose(modulate(x, gamma, beta), expected, rtol=1e-6)
  np.testing.assert_array_equal(modulate(x, 0 * gamma, 0 * beta), x)
  np.testing.assert_allclose(
    penalty(gamma, beta), np.square([gamma, beta]).sum(0).mean(-1), rtol=1e-6
  )


@pytest.mark.parametrize('size', [(64, 64), (33, 5)])
def test_any_size_is_read_and_large_ones_are_pooled(size):
  modulation = Modulation()
  x = normal(0, 2, *size, 4)
  params = noisy(jax.jit(lambda x: modulation.init(key(), 0, x))(x))
  apply = jax.jit(lambda x: modulation.apply(params, 0, x))
  gamma, beta = apply(x)
  assert gamma.shape == beta.shape == (2, 4) and np.abs(gamma).max() > 0
  if size == (64, 64):  # what differs inside the pooled squares is not seen, the rest is
    square = jnp.where(jnp.indices(size).sum(0) % 2, 1.0, -1.0)[None, :, :, None]
    np.testing.assert_allclose(apply(x + square)[0], gamma, atol=1e-5)
    assert np.abs(apply(x + 1)[0] - gamma).max() > 1e-4


def test_compute_dtype_leaves_parameters_and_modulation_float32():
  modulation = Modulation(dtype=jnp.bfloat16)
  x = normal(0, 2, 8, 8, 4).astype(jnp.bfloat16)
  params = jax.eval_shape(lambda x: modulation.init(key(), 0, x), x)
  gamma, beta = jax.eval_shape(lambda params, x: modulation.apply(params, 0, x), params, x)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
  assert gamma.dtype == beta.dtype == jnp.float32
  assert jax.eval_shape(modulate, x, gamma, beta).dtype == jnp.bfloat16
