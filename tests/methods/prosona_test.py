import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrunk

from multirater_jax import style_prompts, text
from multirater_jax.experiment import build_method
from multirater_jax.methods.prosona import comparable, draw_prompts, info_nce, pool, prosona
from multirater_jax.style_prompts import cell_of
from multirater_jax.train_step import evaluated_params

pytestmark = pytest.mark.slow  # compiles for half a minute

R = shrunk.RATERS


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def unit(x):
  return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def test_info_nce_is_its_formula():
  vectors, prompts = unit(normal(0, 2, 4, 5)), unit(normal(1, 2, 4, 5))
  allowed = jnp.asarray(np.random.default_rng(2).random((2, 4, 4)) < 0.5) | jnp.eye(4, dtype=bool)
  found = info_nce(prompts, allowed, 0.07, vectors)
  for b in range(2):
    for i in range(4):
      scores = {
        j: np.exp(vectors[b, i] @ prompts[b, j] / 0.07) for j in range(4) if allowed[b, i, j]
      }
      np.testing.assert_allclose(found[b, i], -np.log(scores[i] / sum(scores.values())), rtol=2e-3)


def test_a_prompt_without_any_other_costs_nothing():
  x = unit(normal(0, 1, 3, 5))
  loss = info_nce(x, jnp.eye(3, dtype=bool)[None], 0.07, unit(normal(1, 1, 3, 5)))
  np.testing.assert_allclose(loss, 0, atol=1e-6)


def test_raters_of_one_cell_and_absent_ones_are_no_negatives():
  small, large = cell_of('conservative'), cell_of('generous')
  cells = jnp.array([[small, small, large, large]])
  allowed = np.asarray(comparable(cells, jnp.array([[True, True, True, False]])))[0]
  words, names = allowed[:4, :4], allowed[4:, 4:]
  assert not allowed[:4, 4:].any() and not allowed[4:, :4].any()
  np.testing.assert_array_equal(words, [[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 1]])
  np.testing.assert_array_equal(names, [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])


def test_pool_is_the_mean_under_the_mask():
  features, weights = normal(0, 1, 4, 4, 3), np.zeros((1, 2, 4, 4))
  weights[0, 0, 1:3] = 1
  pooled = pool(features, jnp.asarray(weights))
  np.testing.assert_allclose(pooled[0, 0], features[0, 1:3].sum((0, 1)) / 9, rtol=1e-5)
  np.testing.assert_array_equal(pooled[0, 1], 0)


def test_prompts_are_paraphrases_of_their_cell_and_belong_to_their_key():
  table = jnp.asarray(style_prompts.embeddings('train'))
  cells = jnp.array([[0, 8, 8], [4, 0, 2]])
  keys = jax.random.split(jax.random.key(0), 2)
  prompts = draw_prompts(keys, cells, table)
  for b in range(2):
    for r in range(3):
      assert (np.asarray(table[cells[b, r]]) == np.asarray(prompts[b, r])).all(-1).sum() == 1
  np.testing.assert_array_equal(draw_prompts(keys[1:], cells[1:], table)[0], prompts[1])
  many = draw_prompts(jax.random.split(keys[0], 200), jnp.zeros((200, 1), int), table)
  assert len(np.unique(np.asarray(many)[:, 0], axis=0)) == table.shape[1]


@pytest.fixture(scope='module')
def trained():
  method = shrunk.stage_of('prosona', 'personalize').method
  params = evaluated_params(shrunk.end_of('prosona', 'personalize')[0])
  image = shrunk.batch()['image'][:2]
  keys = jax.random.split(jax.random.key(0), 2)
  run = jax.jit(method.personalize)
  return lambda style: np.asarray(run(params, keys, image, jnp.asarray(style, jnp.float32)))


def test_prompts_of_any_length_and_number_are_accepted(trained):
  style = text.embed(['tight outline', 'wide outline with a margin'])
  maps = trained(style)
  assert maps.shape[:2] == (2, 2)
  assert np.abs(maps[:, 0] - maps[:, 1]).max() > 1e-3
  np.testing.assert_allclose(trained(3 * style), maps, atol=1e-5)
  np.testing.assert_allclose(trained(style[::-1])[:, ::-1], maps, atol=1e-5)


def test_a_row_of_rater_weights_mixes_learned_prompts(trained):
  style = np.float32([[1, 0, 0], [0.5, 0.5, 0]])
  maps = trained(style)
  np.testing.assert_allclose(maps[:, :1], trained(np.eye(R))[:, :1], atol=1e-5)
  assert np.abs(maps[:, 0] - maps[:, 1]).max() > 1e-4


def test_another_width_is_refused(trained):
  with pytest.raises(ValueError, match='5 wide; give the embedding of a prompt, 256 wide, or'):
    trained(np.zeros((1, 5)))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [({'stage': 'prompt'}, 'diversify and personalize'), ({'text_dim': R}, 'also the number')],
)
def test_arguments_that_cannot_be(arguments, message):
  with pytest.raises(ValueError, match=message):
    prosona(num_classes=2, num_raters=R, trunk={'name': 'unet'}, **arguments)


def test_an_encoder_of_another_size_shows_before_training(monkeypatch):
  monkeypatch.setattr(style_prompts, 'embeddings', lambda *_, **__: np.zeros((9, 10, 384)))
  method = build_method(shrunk.config_of('prosona'), 'personalize', num_raters=R, num_classes=2)
  with pytest.raises(ValueError, match='gives 384 numbers; set text_dim to that'):
    jax.eval_shape(method.init, jax.random.key(0), shrunk.batch())
