"""What every method promises, checked for every stage of every config.

A new name in METHODS with a config of that name is picked up by itself.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrunk
from flax.traverse_util import flatten_dict
from processes import finish, start, unused_port

from multirater_jax.adaptation import adapt
from multirater_jax.experiment import build_method
from multirater_jax.losses import cross_entropy
from multirater_jax.method import image_keys
from multirater_jax.methods import METHODS
from multirater_jax.optimizer import merge
from multirater_jax.train_step import evaluated_params

every_stage = pytest.mark.parametrize(('name', 'stage'), shrunk.stages())
every_output = pytest.mark.parametrize(('name', 'stage', 'verb'), shrunk.outputs())
samples = [(name, stage) for name, stage, verb in shrunk.outputs() if verb == 'sample']
personal = [(name, stage) for name, stage, verb in shrunk.outputs() if verb == 'personalize']
every_method = pytest.mark.parametrize('name', METHODS)


@pytest.mark.parametrize(
  'classes, raters, channels, dtype', [(2, 1, 1, 'float32'), (4, 5, 3, 'bfloat16')]
)
@every_stage
def test_shapes(name, stage, classes, raters, channels, dtype):
  """For any number of classes, raters and channels, and images that are not square.

  Parameters, losses and probabilities are float32 whatever the networks compute in.
  """
  method = build_method(
    shrunk.config_of(name), stage, num_raters=raters, num_classes=classes, dtype=dtype
  )
  b, h, w = 2, 32, 48
  batch = {
    'image': jax.ShapeDtypeStruct((b, h, w, channels), jnp.float32),
    'masks': jax.ShapeDtypeStruct((b, raters, h, w), jnp.uint8),
    'annotated': jax.ShapeDtypeStruct((b, raters), bool),
    'case': jax.ShapeDtypeStruct((b,), jnp.int32),
    'index': jax.ShapeDtypeStruct((b,), jnp.int32),
  }
  key, step = jax.random.key(0), jax.ShapeDtypeStruct((), jnp.int32)
  keys = jax.random.split(key, b)
  params = jax.eval_shape(method.init, key, batch)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
  loss = jax.eval_shape(method.loss, params, key, batch, step)
  for name, term in [('value', loss.value), *loss.logs.items()]:
    assert (term.shape, term.dtype) == ((b,), jnp.float32), name
  sample = functools.partial(method.sample, num_samples=5)
  samples = jax.eval_shape(sample, params, keys, batch['image'])
  assert (samples.shape, samples.dtype) == ((b, 5, h, w, classes), jnp.float32)
  if method.personalize is not None:
    style = jax.ShapeDtypeStruct((7, raters), jnp.float32)
    maps = jax.eval_shape(method.personalize, params, keys, batch['image'], style)
    assert (maps.shape, maps.dtype) == ((b, 7, h, w, classes), jnp.float32)


@every_stage
def test_loss_has_a_finite_gradient_to_every_trained_parameter_and_no_other(name, stage):
  start = shrunk.perturbed(shrunk.start_of(name, stage))
  after, logs = shrunk.stage_of(name, stage).step(start, jax.random.key(1), shrunk.batch())
  assert all(np.isfinite(value) for value in logs.values()), logs
  gradient = shrunk.gradient_of(after)
  assert gradient.keys() == start.trained.keys()
  for key, leaf in gradient.items():
    assert np.isfinite(leaf).all() and np.any(leaf != 0), key


@every_stage
def test_frozen_parameters_have_no_state_and_do_not_move(name, stage):
  start, (end, _) = shrunk.start_of(name, stage), shrunk.end_of(name, stage)
  trained = sum(leaf.size for leaf in start.trained.values())
  state = sum(leaf.size for leaf in jax.tree.leaves(end.optimizer))
  assert 3 * trained <= state < 3 * trained + 10  # the gradient and Adam's two, some counters
  assert not start.trained.keys() & start.frozen.keys()
  for key, leaf in start.frozen.items():
    np.testing.assert_array_equal(end.frozen[key], leaf, err_msg=key)


@every_stage
def test_a_few_steps_lower_the_loss(name, stage):
  losses = shrunk.end_of(name, stage)[1]
  assert np.mean(losses[-3:]) < 0.97 * np.mean(losses[:3]), losses


@functools.cache
def loss_of(name, stage):
  return jax.jit(shrunk.stage_of(name, stage).method.loss)


def losses(name, stage, batch):
  state = shrunk.perturbed(shrunk.start_of(name, stage))
  params = merge(state.trained, state.frozen)
  loss = loss_of(name, stage)(params, jax.random.key(2), batch, jnp.zeros((), jnp.int32))
  return {'value': loss.value, **loss.logs}


def assert_rows_equal(actual, expected):
  assert actual.keys() == expected.keys()
  for name, term in expected.items():
    np.testing.assert_allclose(actual[name], term, rtol=1e-5, atol=1e-6, err_msg=name)


@every_stage
def test_what_an_absent_rater_would_have_drawn_does_not_matter(name, stage):
  batch = shrunk.batch()
  masks = jnp.where(batch['annotated'][:, :, None, None], batch['masks'], 1 - batch['masks'])
  assert (masks != batch['masks']).any()
  expected = losses(name, stage, batch)
  assert_rows_equal(losses(name, stage, batch | {'masks': masks}), expected)


@every_stage
def test_loss_of_an_image_depends_on_neither_neighbors_nor_place(name, stage):
  batch, other = shrunk.batch(), shrunk.batch(1)
  expected = {key: term[:4] for key, term in losses(name, stage, batch).items()}
  moved = {key: jnp.concatenate([other[key][4:], batch[key][:4]]) for key in batch}
  padded = moved | {'annotated': moved['annotated'].at[:4].set(False)}
  for changed in (moved, padded):
    actual = losses(name, stage, changed)
    assert all(np.isfinite(term).all() for term in actual.values())
    assert_rows_equal({key: term[4:] for key, term in actual.items()}, expected)


@every_stage
def test_a_padded_row_counts_nowhere(name, stage):
  batch, other = shrunk.batch(), shrunk.batch(1)
  batch = batch | {'annotated': batch['annotated'].at[-1].set(False)}
  start = shrunk.perturbed(shrunk.start_of(name, stage))
  step = shrunk.stage_of(name, stage).step
  one, logs = step(start, jax.random.key(1), batch)
  for value in (0, 1):
    garbage = {key: other[key][-1] * value for key in ('image', 'masks', 'index')}
    changed = batch | {key: batch[key].at[-1].set(row) for key, row in garbage.items()}
    two, changed_logs = step(start, jax.random.key(1), changed)
    for a, b in [(logs, changed_logs), (shrunk.gradient_of(one), shrunk.gradient_of(two))]:
      jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), b, a)


@functools.cache
def predict_of(name, stage, verb):
  """``(params, keys, image) -> probs`` of an output."""
  method = shrunk.stage_of(name, stage).method
  if verb == 'personalize':
    style = jnp.eye(shrunk.RATERS)
    return jax.jit(lambda params, keys, image: method.personalize(params, keys, image, style))
  return jax.jit(lambda params, keys, image: method.sample(params, keys, image, 4))


@functools.cache
def prediction(name, stage, verb, seed):
  batch = shrunk.batch()
  keys = image_keys(jax.random.key(seed), batch['index'])
  params = evaluated_params(shrunk.end_of(name, stage)[0])
  return predict_of(name, stage, verb)(params, keys, batch['image'])


@every_output
def test_probabilities_add_up_to_one(name, stage, verb):
  probs = prediction(name, stage, verb, 3)
  assert probs.min() >= 0
  np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)


@every_output
def test_prediction_does_not_depend_on_the_batch(name, stage, verb):
  probs, batch = prediction(name, stage, verb, 3), shrunk.batch()
  params = evaluated_params(shrunk.end_of(name, stage)[0])
  predict = predict_of(name, stage, verb)
  keys = image_keys(jax.random.key(3), batch['index'])
  backward = predict(params, keys[::-1], batch['image'][::-1])
  np.testing.assert_allclose(backward[::-1], probs, atol=1e-5)
  alone = predict(params, keys[2:3], batch['image'][2:3])
  np.testing.assert_allclose(alone[0], probs[2], atol=1e-5)


@pytest.mark.parametrize(('name', 'stage'), samples)
def test_other_keys_give_other_samples(name, stage):
  one, two = prediction(name, stage, 'sample', 3), prediction(name, stage, 'sample', 4)
  difference = np.abs(one - two).max((1, 2, 3, 4))
  assert (difference > 1e-4).all()
  among = np.abs(one[:, :1] - one[:, 1:]).max((2, 3, 4))
  assert (among > 1e-4).all()


@pytest.mark.parametrize(('name', 'stage'), personal)
def test_raters_differ_once_personalized(name, stage):
  maps = prediction(name, stage, 'personalize', 3)
  for a in range(shrunk.RATERS):
    for b in range(a):
      assert np.abs(maps[:, a] - maps[:, b]).max() > 1e-3, (a, b)


@pytest.mark.parametrize(('name', 'stage'), personal)
def test_a_new_rater_is_fitted_and_nobody_else_changes(name, stage):
  if shrunk.stage_of(name, stage).method.rater_params is None:
    pytest.skip('the method cannot take in a new rater')
  raters, batch = shrunk.RATERS, shrunk.batch()
  method = build_method(shrunk.config_of(name), stage, num_raters=raters + 1, num_classes=2)
  before = evaluated_params(shrunk.end_of(name, stage)[0])
  masks = batch['masks'].max(1)  # the new rater draws what anybody drew
  fit = functools.partial(adapt, method, before, batch['image'], masks, num_raters=raters)
  start, end = fit(steps=0), fit(steps=25, learning_rate=0.05)
  keys = image_keys(jax.random.key(3), batch['index'])
  maps = jax.jit(method.personalize)
  old = prediction(name, stage, 'personalize', 3)
  first, last = (maps(p, keys, batch['image'], jnp.eye(raters + 1)) for p in (start, end))
  np.testing.assert_allclose(last[:, :raters], old, atol=1e-5)
  old_params, new_params = (flatten_dict(tree, sep='/') for tree in (before, end))
  for key, leaf in old_params.items():
    kept = new_params[key]
    if re.search(method.rater_params.stacked, key):
      if not re.search(method.rater_params.fitted, key):  # somebody's layer, not a mean of layers
        assert any(np.array_equal(kept[raters], row) for row in leaf[:raters]), key
      kept = jnp.delete(kept, raters, axis=0)
    np.testing.assert_array_equal(kept, leaf, err_msg=key)
  loss = [float(cross_entropy(jnp.log(p[:, raters] + 1e-6), masks).mean()) for p in (first, last)]
  assert loss[1] < loss[0], loss


def save_steps(name, folder):
  for stage in shrunk.config_of(name)['stages']:
    shrunk.save_step(name, stage, folder)


@every_method
def test_eight_devices_give_the_numbers_of_one_without_gathering(name, tmp_path):
  save_steps(name, tmp_path)
  finish(start('shrunk', name, tmp_path, devices=8))


@pytest.mark.slow
@every_method
def test_two_processes_give_the_numbers_of_one(name, tmp_path):
  save_steps(name, tmp_path)
  port = unused_port()
  finish(*(start('shrunk', name, tmp_path, port, number, devices=1) for number in range(2)))


@every_method
def test_every_method_has_a_config(name):
  assert shrunk.config_of(name)['method'] == name
