"""The step with a method small enough to work out by hand."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multirater_jax.method import Loss, Method, image_keys
from multirater_jax.optimizer import make_optimizer
from multirater_jax.train_step import create_state, evaluated_params, make_train_step

KEY = jax.random.key(0)


def toy(noise: float = 0.0) -> Method:
  """Predicts the mean of the masks by a weight times the mean of the image plus a frozen bias."""

  def init(rng: Any, batch: Any) -> Any:
    del rng, batch
    return {'head': {'weight': jnp.asarray(0.5)}, 'base': {'bias': jnp.asarray(0.25)}}

  def loss(params: Any, rng: Any, batch: Any, step: Any) -> Loss:
    del step
    x = batch.get('distorted', batch['image']).mean((1, 2, 3))
    target = batch['masks'].astype(jnp.float32).mean((1, 2, 3))
    target += noise * jax.vmap(jax.random.normal)(image_keys(rng, batch['index']))
    error = params['head']['weight'] * x + params['base']['bias'] - target
    return Loss(error**2, {'error': error, 'picture': x})

  return Method(init, loss, lambda *args: None)


def batch_of(rows: int, *, padded: int = 0, seed: int = 0):
  rng = np.random.default_rng(seed)
  annotated = np.ones((rows, 2), bool)
  annotated[rows - padded :] = False
  return {
    'image': jnp.asarray(rng.random((rows, 8, 8, 1)), jnp.float32),
    'masks': jnp.asarray(rng.integers(0, 2, (rows, 2, 8, 8)), jnp.uint8),
    'annotated': jnp.asarray(annotated),
    'case': jnp.arange(rows, dtype=jnp.int32),
    'index': jnp.arange(10, 10 + rows, dtype=jnp.int32),
  }


def part(batch, rows):
  return {name: value[rows] for name, value in batch.items()}


def build(method, optimizer, batch, *, freeze='^base/', **options):
  state = create_state(method, optimizer, KEY, batch, freeze=freeze)
  settings = {'ema_decay': 0.9, 'augmentation': {}, 'artifact_probability': 0.0} | options
  return state, jax.jit(make_train_step(method, optimizer, **settings))


def errors(batch, weight=0.5, bias=0.25):
  x = np.asarray(batch['image'], np.float64).mean((1, 2, 3))
  return weight * x + bias - np.asarray(batch['masks'], np.float64).mean((1, 2, 3)), x


def test_step_is_the_gradient_of_the_mean_over_real_rows():
  batch = batch_of(6, padded=2)
  state, step = build(toy(), optax.sgd(0.1), batch)
  after, logs = step(state, KEY, batch)
  error, x = (values[:4] for values in errors(batch))
  gradient = (2 * error * x).mean()
  np.testing.assert_allclose(logs['loss'], (error**2).mean(), rtol=1e-5)
  np.testing.assert_allclose(logs['error'], error.mean(), rtol=1e-4)
  np.testing.assert_allclose(logs['gradient_norm'], abs(gradient), rtol=1e-4)
  np.testing.assert_allclose(after.trained['head/weight'], 0.5 - 0.1 * gradient, rtol=1e-6)
  assert int(after.step) == 1


def test_a_batch_of_padding_changes_nothing():
  batch = batch_of(3, padded=3)
  state, step = build(toy(), optax.sgd(0.1), batch)
  after, logs = step(state, KEY, batch)
  assert float(logs['loss']) == 0 and float(after.trained['head/weight']) == 0.5


def test_frozen_parameters_have_no_gradient_and_no_optimizer_state():
  batch = batch_of(4)
  optimizer = make_optimizer(steps=10, learning_rate=0.1)
  state, step = build(toy(), optimizer, batch)
  assert state.trained.keys() == state.ema.keys() == {'head/weight'}
  assert state.frozen.keys() == {'base/bias'}
  names = jax.tree_util.keystr
  assert not any('base' in names(path) for path, _ in jax.tree.leaves_with_path(state.optimizer))
  for _ in range(3):
    state, _ = step(state, KEY, batch)
  assert float(state.frozen['base/bias']) == 0.25
  assert float(state.trained['head/weight']) != 0.5


def test_a_stage_starts_from_the_stage_before():
  batch = batch_of(2)
  earlier = {'head': {'weight': jnp.asarray(3.0)}, 'base': {'other': jnp.asarray(1.0)}}
  state = create_state(toy(), optax.sgd(0.1), KEY, batch, freeze='^base/', earlier=earlier)
  assert float(state.trained['head/weight']) == float(state.ema['head/weight']) == 3
  assert {name: float(value) for name, value in state.frozen.items()} == {'base/bias': 0.25}


def test_a_later_stage_goes_on_rather_than_back_to_pretrained_weights():
  batch, encoder = batch_of(2), {'kernel': jnp.asarray(7.0)}

  def init(rng, batch):
    return {'trunk': {'encoder': {'kernel': jnp.asarray(0.0)}}}

  method = toy()._replace(init=init)
  create = functools.partial(create_state, method, optax.sgd(0.1), KEY, batch, freeze=None)
  first = create(encoder=encoder)
  assert float(first.trained['trunk/encoder/kernel']) == 7
  earlier = {'trunk': {'encoder': {'kernel': jnp.asarray(8.0)}}}
  second = create(encoder=encoder, earlier=earlier)
  assert float(second.trained['trunk/encoder/kernel']) == 8


def test_average_follows_and_is_what_gets_evaluated():
  batch = batch_of(4)
  state, step = build(toy(), optax.sgd(0.1), batch)
  weights, ema = [], 0.5
  for number in range(4):
    state, _ = step(state, KEY, batch)
    weights.append(float(state.trained['head/weight']))
    decay = min(0.9, (1 + number) / (10 + number))
    ema = decay * ema + (1 - decay) * weights[-1]
  params = evaluated_params(state)
  np.testing.assert_allclose(params['head']['weight'], ema, rtol=1e-5)
  assert float(params['base']['bias']) == 0.25 and abs(ema - weights[-1]) > 1e-5


def test_the_state_can_be_donated():
  batch = batch_of(4)
  state, step = build(toy(), make_optimizer(steps=9, learning_rate=0.1), batch)
  expected, _ = step(state, KEY, batch)
  donating = jax.jit(step, donate_argnums=0)
  after, _ = donating(state, KEY, batch)  # average and parameters must not share their memory
  jax.tree.map(np.testing.assert_allclose, after, expected)


@pytest.mark.parametrize('steps', [2, 4])
def test_accumulated_steps_are_one_step_with_a_large_batch(steps):
  batch = batch_of(8)
  options = {'learning_rate': 0.1, 'warmup': 0.0, 'clip_norm': 1e9}
  large, small = (
    make_optimizer(steps=3, **options),
    make_optimizer(steps=3 * steps, accumulate=steps, **options),
  )
  one, large_step = build(toy(), large, batch)
  many, small_step = build(toy(), small, batch)
  rows = 8 // steps
  for _ in range(3):
    one, _ = large_step(one, KEY, batch)
    for number in range(steps):
      many, _ = small_step(many, KEY, part(batch, slice(number * rows, (number + 1) * rows)))
    np.testing.assert_allclose(many.trained['head/weight'], one.trained['head/weight'], rtol=1e-5)
  assert abs(float(one.trained['head/weight']) - 0.5) > 0.05


def test_what_is_drawn_belongs_to_image_and_step():
  batch = batch_of(6)
  state, step = build(
    toy(noise=1.0),
    optax.sgd(0.1),
    batch,
    augmentation={'brightness': 0.2, 'probability': 1.0},
    artifact_probability=1.0,
  )

  def picture(rows, number, key=KEY):
    real = batch['annotated'] & jnp.isin(jnp.arange(6), jnp.arange(6)[rows])[:, None]
    return step(state._replace(step=jnp.asarray(number)), key, batch | {'annotated': real})[1]

  all_rows, first, last = (picture(rows, 0) for rows in (slice(6), slice(3), slice(3, 6)))
  for name in ('loss', 'picture', 'error'):
    np.testing.assert_allclose(all_rows[name], (first[name] + last[name]) / 2, rtol=1e-4)
  for other in (picture(slice(6), 1), picture(slice(6), 0, jax.random.key(1))):
    for name in ('picture', 'error'):
      assert abs(other[name] - all_rows[name]) > 1e-5, name


def test_artefacts_go_to_a_copy_of_the_augmented_image():
  batch, seen = batch_of(4), {}

  def loss(params, rng, batch, step):
    seen.update(batch)
    return toy().loss(params, rng, batch, step)

  method = toy()._replace(loss=loss)
  state, _ = build(method, optax.sgd(0.1), batch)

  def images(artifact_probability, augmentation):
    step = make_train_step(
      method,
      optax.sgd(0.1),
      ema_decay=0.9,
      augmentation=augmentation,
      artifact_probability=artifact_probability,
    )

    def traced(state, batch):
      seen.clear()
      step(state, KEY, batch)
      return dict(seen)

    return jax.jit(traced)(state, batch)

  plain = images(0.0, {})
  assert 'distorted' not in plain
  np.testing.assert_array_equal(plain['image'], batch['image'])
  both = images(1.0, {'brightness': 0.2, 'probability': 1.0})
  changed = both['image'] - batch['image']
  assert np.abs(changed).max((1, 2, 3)).min() > 1e-4
  assert np.abs(both['distorted'] - both['image']).max((1, 2, 3)).min() > 1e-4
  np.testing.assert_array_equal(both['masks'], batch['masks'])
