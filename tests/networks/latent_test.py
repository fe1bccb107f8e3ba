import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.networks.latent import Gaussian, GaussianEncoder, LatentHead, draw
from multirater_jax.networks.latent_unet import LatentUNet, mask_channels
from multirater_jax.networks.unet import UNet


def key():
  return jax.random.key(0, impl='unsafe_rbg')


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize('patch', [1, 2])
def test_encoder_sees_the_whole_image_and_nothing_else(patch):
  encoder = GaussianEncoder(3, widths=(8, 8), convs=1, patch=patch)
  x = normal(0, 3, 8, 12, 2)
  params = jax.jit(encoder.init)(key(), x)
  apply = jax.jit(encoder.apply)
  both = apply(params, x)
  assert both.mean.shape == both.log_sigma.shape == (3, 3)
  np.testing.assert_allclose(apply(params, x[::-1]).mean, both.mean[::-1], atol=1e-5)
  moved = apply(params, x.at[0, -1, -1].add(3.0))
  changed = np.abs(np.asarray(moved.mean - both.mean)).max(1)
  assert changed[0] > 1e-4 and changed[1:].max() == 0


def test_log_sigma_is_bounded_and_its_gradient_finite():
  encoder = GaussianEncoder(2, widths=(8,), convs=1)
  x = normal(0, 1, 4, 4, 1)
  params = jax.jit(encoder.init)(key(), x)
  params['params']['moments']['kernel'] *= 1e6

  def loss(params):
    log_sigma = encoder.apply(params, x).log_sigma
    return jnp.exp(log_sigma).sum(), log_sigma

  gradient, log_sigma = jax.jit(jax.grad(loss, has_aux=True))(params)
  assert 4.9 < np.abs(log_sigma).max() <= 5
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_draws_follow_the_gaussian_and_belong_to_their_key():
  mean, log_sigma = np.float32([[1.0, -2.0], [0.0, 5.0]]), np.float32([[0.0, -1.0], [0.5, -5.0]])
  keys = jax.random.split(jax.random.key(7), 2)
  gaussian = Gaussian(jnp.asarray(mean), jnp.asarray(log_sigma))
  codes = draw(keys, gaussian, 4000)
  assert codes.shape == (2, 4000, 2)
  np.testing.assert_allclose(codes.mean(1), mean, atol=0.1)
  np.testing.assert_allclose(codes.std(1), np.exp(log_sigma), rtol=0.05)
  alone = draw(keys[1:], Gaussian(gaussian.mean[1:], gaussian.log_sigma[1:]), 4000)
  np.testing.assert_array_equal(alone[0], codes[1])


@pytest.fixture(scope='module')
def head():
  head = LatentHead(num_classes=3, width=5)
  features, codes = normal(0, 2, 4, 6, 7), normal(1, 2, 4, 2)
  return head, jax.jit(head.init)(key(), features, codes), features, codes


def test_head_is_three_layers_over_features_and_code(head):
  head, params, features, codes = head
  logits = head.apply(params, features, codes)
  layers = jax.tree.map(np.asarray, params['params'])
  joined = np.concatenate(
    [
      np.broadcast_to(features[:, None], (2, 4, 4, 6, 7)),
      np.broadcast_to(codes[:, :, None, None], (2, 4, 4, 6, 2)),
    ],
    axis=-1,
  )
  first = np.concatenate([layers['from_features']['kernel'], layers['from_latent']['kernel']])
  x = np.maximum(joined @ first + layers['from_features']['bias'], 0)
  x = np.maximum(x @ layers['hidden']['kernel'] + layers['hidden']['bias'], 0)
  expected = x @ layers['logits']['kernel'] + layers['logits']['bias']
  np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_constant_map_of_codes_is_the_code(head):
  head, params, features, codes = head
  logits = head.apply(params, features, codes)
  maps = jnp.broadcast_to(codes[:, :, None, None], (2, 4, 2, 3, 2))
  decoded = head.apply(params, features, maps, method='decode_maps')
  np.testing.assert_allclose(decoded, logits, atol=1e-5)


def test_maps_of_codes_are_resized_bilinearly(head):
  head, params, features, _ = head
  small = normal(2, 2, 1, 2, 3, 2)
  large = jax.image.resize(small, (2, 1, 4, 6, 2), 'linear')

  def decode(maps):
    return head.apply(params, features, maps, method='decode_maps')

  np.testing.assert_allclose(decode(small), decode(large), atol=1e-5)


def make_model(**arguments):
  trunk = UNet(widths=(8, 8), convs=1, dtype=arguments.get('dtype'))
  return LatentUNet(trunk, 3, latent_dim=2, encoder_widths=(8,), encoder_convs=1, **arguments)


def test_posterior_sees_image_and_mask_the_prior_only_the_image():
  model = make_model()
  image, mask = normal(0, 1, 8, 8, 1), jnp.zeros((1, 8, 8), jnp.int32)
  params = jax.jit(model.init)(key(), image, mask_channels(mask, 3))
  names = set(params['params'])
  assert names == {'trunk', 'prior_encoder', 'posterior_encoder', 'head'}

  @jax.jit
  def posterior(image, mask):
    return model.apply(params, image, mask_channels(mask, 3), method='posterior').mean

  base = posterior(image, mask)
  one, two = posterior(image, mask.at[0, :4].set(1)), posterior(image, mask.at[0, :4].set(2))
  assert np.abs(one - base).max() > 1e-4 and np.abs(one - two).max() > 1e-4
  assert np.abs(posterior(image + normal(3, 1, 8, 8, 1), mask) - base).max() > 1e-4


def test_compute_dtype_leaves_parameters_moments_and_logits_float32():
  model = make_model(dtype=jnp.bfloat16)
  image, truth = jnp.zeros((1, 8, 8, 1)), jnp.zeros((1, 8, 8, 2))
  params = jax.eval_shape(model.init, key(), image, truth)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}

  def everything(params):
    prior = model.apply(params, image, method='prior')
    features = model.apply(params, image, method='features')
    return prior, features, model.apply(params, features.full, prior.mean[None], method='decode')

  prior, features, logits = jax.eval_shape(everything, params)
  assert prior.mean.dtype == prior.log_sigma.dtype == logits.dtype == jnp.float32
  assert features.full.dtype == jnp.bfloat16
