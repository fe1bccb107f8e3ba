import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.diffusion.gaussian import PARAMETERIZATIONS
from multirater_jax.diffusion.gaussian_process import make_process

T = 40


def keys(rows, seed=0):
  return jax.random.split(jax.random.key(seed), rows)


def process(**changes):
  arguments = {'num_steps': 8, 'sampler': 'ddim', 'parameterization': 'v'} | changes
  return make_process('cosine', T, **arguments)


def masks(rows=4):
  return jnp.sign(jax.random.normal(jax.random.key(1), (rows, 4, 4, 1)))


def perfect(way, x_0, abar):
  """A network that knows the mask: what it should predict, from x_t alone."""
  abar = jnp.asarray(abar, jnp.float32)

  def output(x_t, t):
    level = abar[t][:, None, None, None]
    noise = (x_t - jnp.sqrt(level) * x_0) / jnp.sqrt(1 - level)
    return PARAMETERIZATIONS[way].target(x_0, noise, abar[t])

  return output


@pytest.mark.parametrize('way', PARAMETERIZATIONS)
def test_a_perfect_network_costs_nothing_and_gives_the_mask(way):
  chain, x_0 = process(parameterization=way), masks()
  output = perfect(way, x_0, chain.abar)
  terms = chain.training_terms(keys(4), jnp.array([1, 5, 20, T]), x_0, output)
  np.testing.assert_allclose(terms['error'], 0, atol=1e-4)
  found = chain.sample(keys(4), output, x_0.shape[1:])
  np.testing.assert_allclose(found, x_0, atol=1e-2 if way == 'eps' else 1e-4)


def test_a_row_depends_on_its_own_key_and_time():
  chain, x_0, t = process(learn_variance=True), masks(), jnp.array([1, 5, 20, T])

  def output(x_t, t):
    x = jnp.roll(x_t, 1, axis=1) * 0.01 * t[:, None, None, None]
    return jnp.concatenate([x, -x], axis=-1)

  together = chain.training_terms(keys(4), t, x_0, output)
  found = chain.sample(keys(4), output, (4, 4, 1))
  assert together.keys() == {'error', 'bound'} and (together['bound'] >= 0).all()
  for row in range(4):
    one = slice(row, row + 1)
    alone = chain.training_terms(keys(4)[one], t[one], x_0[one], output)
    for name, term in together.items():
      np.testing.assert_allclose(alone[name][0], term[row], rtol=1e-5)
    np.testing.assert_allclose(
      chain.sample(keys(4)[one], output, (4, 4, 1))[0], found[row], atol=1e-5
    )


def test_wrong_names_are_listed():
  with pytest.raises(ValueError, match='no sampler "euler"; choose one of ancestral, ddim'):
    process(sampler='euler')
  with pytest.raises(ValueError, match='no parameterization "w"; choose one of x0, eps, v'):
    process(parameterization='w')
