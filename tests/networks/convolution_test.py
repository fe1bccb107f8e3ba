import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.networks.convolution import Conv


def both(dtype, **options):
  """Flax's layer and ours, with the same parameters, and an image."""
  layers = [kind(5, **options, dtype=dtype) for kind in (nn.Conv, Conv)]
  image = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
  params = [layer.init(jax.random.key(1), image) for layer in layers]
  assert jax.tree.map(jnp.shape, params[0]) == jax.tree.map(jnp.shape, params[1])
  return layers, params[0], image


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize(
  'options',
  [
    {'kernel_size': (3, 3)},
    {'kernel_size': (5, 3)},
    {'kernel_size': (3, 3), 'padding': 1},
    {'kernel_size': (3, 3), 'padding': 1, 'strides': 2},
    {'kernel_size': (3, 3), 'kernel_dilation': 2},
    {'kernel_size': (2, 2)},
    {'kernel_size': (1, 1)},
  ],
  ids=str,
)
def test_value_and_gradients_are_those_of_flax(dtype, options):
  layers, params, image = both(dtype, **options)

  def loss(layer, params, image):
    return jnp.square(layer.apply(params, image).astype(jnp.float32)).mean()

  ours, flax = (
    jax.jit(jax.value_and_grad(lambda *a, layer=layer: loss(layer, *a), (0, 1)))(params, image)
    for layer in layers[::-1]
  )
  exact = {'rtol': 1e-5, 'atol': 1e-6} if dtype == 'float32' else {'rtol': 2e-2, 'atol': 4e-3}
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **exact), ours, flax)


def test_in_float32_forward_mode_works():
  (_, layer), params, image = both('float32', kernel_size=(3, 3))
  value, slope = jax.jvp(lambda x: layer.apply(params, x), (image,), (image,))
  np.testing.assert_allclose(slope, value, rtol=1e-4, atol=1e-5)  # linear: the bias starts at 0


def test_in_bfloat16_the_input_gradient_reads_no_kernel_backwards():
  (_, layer), params, image = both('bfloat16', kernel_size=(3, 3))
  image = image.astype(jnp.bfloat16)
  gradient = jax.jit(jax.grad(lambda x: layer.apply(params, x).sum()))
  assert 'reverse = [1, 1]' not in gradient.lower(image).as_text()
  assert 'stablehlo.reverse' in gradient.lower(image).as_text()
