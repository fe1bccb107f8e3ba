"""The layers that a new rater takes over, and the numbers that are fitted."""

import jax
import jax.numpy as jnp
import numpy as np

from multirater_jax.adaptation import adapt
from multirater_jax.method import Loss, Method, RaterParams

SIZE = 16


def discs(radii):
  """Probabilities [r h w 2] that lie in discs of these radii."""
  y, x = jnp.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5
  share = jax.nn.sigmoid(2 * (radii[:, None, None] - jnp.hypot(y, x)))
  return jnp.stack([1 - share, share], axis=-1)


def method_of(num_raters):
  """A rater draws a disc of ``layer_radius + own``; the loss cannot tell the layers apart."""

  def init(rng, batch):
    del rng, batch
    return {'layer_radius': jnp.arange(1.0, num_raters + 1), 'own': jnp.zeros(num_raters)}

  def personalize(params, rngs, image, style):
    del rngs
    maps = discs(style @ (params['layer_radius'] + params['own']))
    return jnp.broadcast_to(maps, (len(image), *maps.shape))

  def loss(params, rng, batch, step):
    del rng, step
    rater = batch['annotated'].argmax(1)
    return Loss(jnp.square(params['own'][rater] - 0.25), {})

  def sample(params, rngs, image, num_samples):
    raise NotImplementedError

  return Method(init, loss, sample, personalize, RaterParams('^(layer|own)', '^own'))


def test_layers_are_those_of_the_rater_whose_maps_fit_and_own_numbers_are_fitted():
  known = {'layer_radius': jnp.array([2.0, 4.0, 6.0]), 'own': jnp.array([0.1, 0.2, 0.3])}
  image = np.zeros((5, SIZE, SIZE, 1), np.float32)
  mask = np.asarray(discs(jnp.array([4.4]))[0, ..., 1] > 0.5).astype(np.uint8)
  masks = np.broadcast_to(mask, (5, SIZE, SIZE))
  found = adapt(method_of(4), known, image, masks, num_raters=3, steps=200, learning_rate=0.05)
  np.testing.assert_array_equal(found['layer_radius'], [2, 4, 6, 4])
  np.testing.assert_array_equal(found['own'][:3], known['own'])
  np.testing.assert_allclose(found['own'][3], 0.25, atol=0.01)
