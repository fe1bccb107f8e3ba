import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.methods.calidiff import (
  alignment,
  committee,
  contest,
  judge_maps,
  mean_of,
  pseudo_truth,
  soft_cross_entropy,
  take_in_turn,
)
from multirater_jax.networks.cross_rater import CrossRaterAttention
from multirater_jax.networks.discriminator import PatchDiscriminator

PRESENT = jnp.array([[True, True, False, True], [True, True, True, True]])


def masks(seed=0):
  return jnp.asarray(np.random.default_rng(seed).random((2, 4, 6, 6, 1)) > 0.5, jnp.float32)


def hidden(maps):
  """The absent rater's map replaced."""
  return jnp.where(PRESENT[:, :, None, None, None], maps, 1 - maps)


def test_an_absent_rater_takes_part_in_nothing():
  x, gate = masks(), jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 6, 6, 1)))
  votes = mean_of(x, PRESENT)
  for part in (
    lambda x: mean_of(x, PRESENT),
    lambda x: committee(x, gate, PRESENT),
    lambda x: alignment(x, votes, PRESENT),
    lambda x: pseudo_truth(x, PRESENT),
  ):
    np.testing.assert_allclose(part(hidden(x)), part(x), atol=1e-6)
  np.testing.assert_allclose(votes[0], x[0, jnp.array([0, 1, 3])].mean(0), atol=1e-6)


def test_the_committee_follows_its_gates():
  x = masks()
  even = committee(x, jnp.zeros((2, 4, 6, 6, 1)), PRESENT)
  np.testing.assert_allclose(even, mean_of(x, PRESENT), atol=1e-6)
  one = jnp.zeros((2, 4, 6, 6, 1)).at[:, 1].set(50.0)
  np.testing.assert_allclose(committee(x, one, PRESENT), x[:, 1], atol=1e-6)


def test_alignment_counts_spread_where_the_raters_agreed_alone():
  probs = jnp.zeros((1, 2, 1, 2, 1)).at[0, 0].set(1.0)  # the predictions differ at both pixels
  everyone = jnp.ones((1, 2), bool)
  agreed_once = jnp.array([1.0, 0.5]).reshape(1, 1, 2, 1)
  assert alignment(probs, agreed_once, everyone)[0] == pytest.approx(0.25)
  tied = jnp.full((1, 1, 2, 1), 0.5)
  assert alignment(probs, tied, everyone)[0] == 0


def test_the_pseudo_truth_leans_to_those_who_agree():
  x = masks().at[:, 1:].set(masks()[:, :1])
  x = x.at[:, 3].set(1 - x[:, 0])
  everyone = jnp.ones((2, 4), bool)
  found = pseudo_truth(x, everyone)
  assert np.abs(found - x[:, 0]).max() < 0.05 < np.abs(mean_of(x, everyone) - x[:, 0]).max()


def test_soft_cross_entropy_is_least_at_the_votes():
  votes = jnp.asarray(np.random.default_rng(0).uniform(0.1, 0.9, (1, 6, 6, 1)))
  at_votes = soft_cross_entropy(votes, votes)
  entropy = -(votes * np.log(votes) + (1 - votes) * np.log(1 - votes)).mean()
  np.testing.assert_allclose(at_votes[0], entropy, rtol=1e-5)
  assert soft_cross_entropy(jnp.clip(votes + 0.05, 0, 0.99), votes)[0] > at_votes[0]


def test_each_player_is_trained_by_its_own_term():
  """``judge`` has no gradient to the maps, ``fool`` none to the discriminator."""
  judge, image = PatchDiscriminator((8, 8)), jnp.ones((2, 8, 8, 1))
  fused, truth = jnp.full((2, 8, 8, 1), 0.4), jnp.ones((2, 8, 8, 1))
  params = judge.init(jax.random.key(0), image, fused)['params']

  def term(params, fused, name):
    def verdict(probs, hold):
      return judge_maps(judge, params, image, probs, hold)

    return contest(verdict, fused, truth)[name].sum()

  def moves(name):
    to_params, to_maps = jax.grad(term, (0, 1))(params, fused, name)
    return any(np.any(leaf) for leaf in jax.tree.leaves(to_params)), bool(np.any(to_maps))

  assert moves('judge') == (True, False)
  assert moves('fool') == (False, True)


def test_samples_take_the_raters_in_turn():
  probs = jnp.arange(2 * 3 * 4).reshape(2, 3, 4, 1, 1, 1).astype(jnp.float32)
  found = np.asarray(take_in_turn(jax.random.split(jax.random.key(0), 2), probs, 10))
  chain, rater = np.divmod(found[..., 0, 0, 0].astype(int) % 12, 4)
  np.testing.assert_array_equal(chain[0], np.arange(10) // 4)
  for row in rater:
    np.testing.assert_array_equal(row, (row[0] + np.arange(10)) % 4)


def test_raters_meet_and_the_absent_is_not_heard():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4, 4, 16)), jnp.float32)
  style = jnp.tile(jnp.eye(3), (2, 1)).at[1].set(0)  # rater 1 of image 0 is absent
  net = CrossRaterAttention(3, head_width=8)
  params = jax.jit(net.init)(jax.random.key(0), x, style)
  apply = jax.jit(net.apply)
  np.testing.assert_array_equal(apply(params, x, style), x)
  params = jax.tree.map(lambda leaf: leaf + 0.1, params)
  out = apply(params, x, style)
  touched = lambda row: np.abs(apply(params, x.at[row].multiply(-2.0), style) - out).max((1, 2, 3))  # noqa: E731
  assert (touched(0)[[1, 2]] > 1e-4).all() and not touched(0)[3:].any()
  np.testing.assert_array_equal(touched(1)[[0, 2, 3, 4, 5]], 0)
