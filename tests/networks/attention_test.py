import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.networks.attention import BankAttention, LargeKernelGate


def key():
  return jax.random.key(0, impl='unsafe_rbg')


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


class Attend(BankAttention):
  """Calls what the module returns."""

  def ask(self, bank, query):
    return self(bank)(query)


@pytest.fixture(scope='module')
def attention():
  module, bank, query = Attend(), normal(0, 2, 5, 3), normal(1, 2, 4, 6, 3)
  run = jax.jit(lambda *args: module.apply(*args, method='ask'))
  return run, module.init(key(), bank), bank, query


def test_attention_is_its_formula(attention):
  run, params, bank, query = attention
  rng = np.random.default_rng(2)
  params = jax.tree.map(lambda x: x + rng.normal(size=x.shape).astype(np.float32), params)
  leaves = jax.tree.map(np.asarray, params['params'])
  keys, values = bank @ leaves['key']['kernel'], bank @ leaves['value']['kernel']
  scores = np.einsum('bijz,bsz->bijs', query @ leaves['query'], keys) / np.sqrt(3)
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  expected = np.einsum('bijs,bsz->bijz', weights, values)
  np.testing.assert_allclose(run(params, bank, query), expected, atol=1e-5)


def test_attention_starts_as_a_convex_mix_of_the_bank(attention):
  run, params, bank, query = attention
  np.testing.assert_array_equal(params['params']['value']['kernel'], np.eye(3))
  codes = run(params, bank, query)
  low, high = bank.min(1)[:, None, None], bank.max(1)[:, None, None]
  assert (codes >= low - 1e-6).all() and (codes <= high + 1e-6).all()
  same = jnp.broadcast_to(bank[:, :1], bank.shape)
  expected = jnp.broadcast_to(bank[:, 0][:, None, None], codes.shape)
  np.testing.assert_allclose(run(params, same, query), expected, atol=1e-6)


def test_order_of_the_bank_does_not_matter(attention):
  run, params, bank, query = attention
  np.testing.assert_allclose(run(params, bank[:, ::-1], query), run(params, bank, query), atol=1e-6)


def test_gate_starts_open_and_sees_far():
  gate, x = LargeKernelGate(), normal(0, 1, 48, 48, 2)
  params = jax.jit(gate.init)(key(), x)
  run = jax.jit(gate.apply)
  np.testing.assert_array_equal(run(params, x), np.ones_like(x))
  params['params']['Dense_0']['kernel'] = jnp.eye(2)
  changed = run(params, x.at[0, 24, 24, 0].add(1.0)) - run(params, x)
  rows, columns, channels = np.nonzero(np.abs(changed[0]) > 1e-7)
  assert set(channels) == {0}  # depthwise
  reach = 2 + 3 * 3  # of a 5x5 kernel and a 7x7 kernel with steps of 3
  for places in (rows, columns):
    assert (places.min(), places.max()) == (24 - reach, 24 + reach)


def test_compute_dtype_leaves_the_parameters_float32():
  gate = LargeKernelGate(dtype=jnp.bfloat16)
  out, params = jax.eval_shape(gate.init_with_output, key(), normal(0, 1, 8, 8, 2))
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
  assert out.dtype == jnp.float32
