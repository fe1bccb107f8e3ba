import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multirater_jax.optimizer import (
  divide,
  ema_update,
  make_optimizer,
  merge,
  start_from,
  with_encoder,
)

PARAMS = {
  'trunk': {'conv': {'kernel': jnp.ones((2, 3)), 'bias': jnp.zeros(3)}},
  'prompts': {'offsets': jnp.full((4,), 2.0)},
}
FLAT = {'trunk/conv/kernel', 'trunk/conv/bias', 'prompts/offsets'}


def run(optimizer, gradients, params):
  """Parameters after each gradient."""
  state, trace = optimizer.init(params), []

  @jax.jit
  def step(state, gradient, params):
    updates, state = optimizer.update(gradient, state, params)
    return state, optax.apply_updates(params, updates)

  for gradient in gradients:
    state, params = step(state, gradient, params)
    trace.append(params)
  return trace


@pytest.mark.parametrize(
  'freeze, frozen',
  [
    (None, set()),
    ('', set()),
    ('^prompts/', {'prompts/offsets'}),
    ('^(?!prompts/)', {'trunk/conv/kernel', 'trunk/conv/bias'}),
    ('bias|offsets', {'trunk/conv/bias', 'prompts/offsets'}),
  ],
)
def test_divided_parameters_merge_into_what_they_were(freeze, frozen):
  trained, fixed = divide(PARAMS, freeze)
  assert fixed.keys() == frozen and trained.keys() == FLAT - frozen
  assert all(bool(freeze) and re.search(freeze, name) for name in fixed)
  merged = merge(trained, fixed)
  assert jax.tree.structure(merged) == jax.tree.structure(PARAMS)
  jax.tree.map(np.testing.assert_array_equal, merged, PARAMS)


def test_something_must_be_left_to_train():
  with pytest.raises(ValueError, match=r'freeze="\." matches every parameter'):
    divide(PARAMS, '.')


def test_a_stage_goes_on_where_names_and_shapes_agree():
  earlier = {
    'trunk': {'conv': {'kernel': jnp.full((2, 3), 5.0), 'bias': jnp.full((4,), 5.0)}},
    'gone': jnp.ones(2),
  }
  started = start_from(PARAMS, earlier)
  assert jax.tree.structure(started) == jax.tree.structure(PARAMS)
  np.testing.assert_array_equal(started['trunk']['conv']['kernel'], 5)
  np.testing.assert_array_equal(started['trunk']['conv']['bias'], 0)  # another shape
  np.testing.assert_array_equal(started['prompts']['offsets'], 2)  # another name


def test_pretrained_weights_go_to_the_encoder_of_the_trunk():
  encoder = {'stem': {'kernel': jnp.full((2, 2), 7.0)}}
  fresh = {
    'base': {'trunk': {'encoder': {'stem': {'kernel': jnp.zeros((2, 2))}, 'own': jnp.ones(1)}}},
    'stem': {'kernel': jnp.zeros((2, 2))},
  }
  params = with_encoder(fresh, encoder)
  assert jax.tree.structure(params) == jax.tree.structure(fresh)
  np.testing.assert_array_equal(params['base']['trunk']['encoder']['stem']['kernel'], 7)
  np.testing.assert_array_equal(params['base']['trunk']['encoder']['own'], 1)
  np.testing.assert_array_equal(params['stem']['kernel'], 0)
  for other in (PARAMS, {'trunk': {'encoder': {'stem': {'kernel': jnp.zeros((3, 2))}}}}):
    with pytest.raises(ValueError, match='stem/kernel has no place in the trunk'):
      with_encoder(other, encoder)


def test_average_forgets_the_start_and_then_slowly():
  ema, seen = {'w': jnp.asarray(100.0)}, []
  for step in range(400):
    ema = ema_update(ema, {'w': jnp.asarray(1.0)}, jnp.asarray(step), 0.9)
    seen.append(float(ema['w']))
  np.testing.assert_allclose(seen[0], 0.1 * 100 + 0.9)
  np.testing.assert_allclose(seen[1], 2 / 11 * (seen[0] - 1) + 1, rtol=1e-5)
  np.testing.assert_allclose(seen[150] - 1, 0.9 * (seen[149] - 1), atol=1e-5)
  np.testing.assert_allclose(seen[-1], 1, atol=1e-5)


def test_rate_rises_then_falls_to_zero():
  optimizer = make_optimizer(steps=20, learning_rate=0.1, warmup=0.2, clip_norm=1e9)
  trace = run(optimizer, [{'w': jnp.ones(1)}] * 20, {'w': jnp.zeros(1)})
  moved = -np.diff([0.0, *(float(params['w'][0]) for params in trace)])
  # Adam moves by the rate where the gradient stays the same.
  np.testing.assert_allclose(moved[:5], [0, 0.025, 0.05, 0.075, 0.1], atol=1e-4)
  assert (np.diff(moved[4:]) < 0).all() and moved[-1] < 2e-3


def test_rates_of_named_parameters_are_scaled_and_the_first_pattern_counts():
  rates = (('^a', 0.5), ('b$', 0.0))
  start = {'a': jnp.zeros(2), 'a/b': jnp.zeros(2), 'c/b': jnp.zeros(2), 'c': jnp.zeros(2)}
  gradients = [{name: jnp.ones(2) for name in start}] * 5
  options = {'steps': 10, 'learning_rate': 0.1, 'clip_norm': 1e9}
  plain = run(make_optimizer(**options), gradients, start)[-1]
  scaled = run(make_optimizer(**options, rate_of=rates), gradients, start)[-1]
  assert plain['a'][0] < -0.1
  for name, factor in {'a': 0.5, 'a/b': 0.5, 'c/b': 0.0, 'c': 1.0}.items():
    np.testing.assert_allclose(scaled[name], factor * plain[name], rtol=1e-5)


def test_large_gradients_are_clipped_together():
  params = {'a': jnp.zeros(1), 'b': jnp.zeros(1)}
  options = {'steps': 10, 'learning_rate': 0.1}
  small = [{'a': jnp.full(1, 0.6 / 2**i), 'b': jnp.full(1, 0.8 / 2**i)} for i in range(4)]
  # The first gradient has norm 1; ten times it is clipped to it, the rest stays below.
  large = [jax.tree.map(lambda x: 10 * x, small[0]), *small[1:]]
  one = run(make_optimizer(**options, clip_norm=1.0), small, params)[-1]
  two = run(make_optimizer(**options, clip_norm=1.0), large, params)[-1]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), two, one)
  free = run(make_optimizer(**options, clip_norm=1e9), large, params)[-1]
  assert abs(free['a'][0] - one['a'][0]) > 1e-4


def test_weights_decay():
  options = {'steps': 10, 'learning_rate': 0.1}
  start, still = {'w': jnp.ones(3)}, [{'w': jnp.zeros(3)}] * 5
  np.testing.assert_array_equal(run(make_optimizer(**options), still, start)[-1]['w'], 1)
  decayed = run(make_optimizer(**options, weight_decay=0.5), still, start)[-1]['w']
  assert (decayed < 0.95).all()


def test_accumulated_steps_are_those_of_their_mean():
  rng = np.random.default_rng(0)
  gradients = [{'w': jnp.asarray(0.1 * rng.normal(size=3), jnp.float32)} for _ in range(12)]
  means = [
    {'w': (gradients[i]['w'] + gradients[i + 1]['w'] + gradients[i + 2]['w']) / 3}
    for i in range(0, 12, 3)
  ]
  options = {'learning_rate': 0.1, 'warmup': 0.25, 'weight_decay': 0.1}
  start = {'w': jnp.ones(3)}
  many = run(make_optimizer(steps=12, accumulate=3, **options), gradients, start)
  few = run(make_optimizer(steps=4, **options), means, start)
  for number, params in enumerate(few):
    np.testing.assert_allclose(many[3 * number + 2]['w'], params['w'], rtol=1e-5)
    before = many[3 * number - 1]['w'] if number else start['w']
    np.testing.assert_array_equal(many[3 * number + 1]['w'], before)
  assert np.abs(few[-1]['w'] - 1).max() > 0.05
