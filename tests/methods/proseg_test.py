import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrunk

from multirater_jax.experiment import build_method
from multirater_jax.method import image_keys


@pytest.mark.parametrize('pool', [1, 2])
def test_a_pooled_field_leaves_the_details_of_the_image(pool):
  config = shrunk.config_of('proseg')
  config = config | {'model': config['model'] | {'field_pool': pool}}
  method = build_method(config, 'fit', num_raters=shrunk.RATERS, num_classes=2)
  batch = shrunk.batch()
  params = jax.jit(method.init)(jax.random.key(0), batch)
  keys = image_keys(jax.random.key(1), batch['index'])
  maps = jax.jit(method.personalize)(params, keys, batch['image'], jnp.eye(shrunk.RATERS))[..., 1]
  assert maps.shape == batch['masks'].shape
  inside = np.abs(maps[..., ::2, :] - maps[..., 1::2, :]).max()  # of the squares of a pooled field
  assert inside > 0.1 * np.ptp(maps)

  @jax.jit
  def loss(params):
    return method.loss(params, jax.random.key(2), batch, 0).value.mean()

  value, gradient = jax.value_and_grad(loss)(params)
  assert np.isfinite(value) and all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
