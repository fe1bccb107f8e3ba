import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrunk

from multirater_jax.experiment import build_method
from multirater_jax.methods.diffoseg import CONSENSUS, diffoseg, random_subset

pytestmark = pytest.mark.slow  # compiles for half a minute

every_consensus = pytest.mark.parametrize('name', CONSENSUS)


def keys(count, seed=0):
  return jax.random.split(jax.random.key(seed), count)


def repeated(annotated, count):
  return jnp.broadcast_to(jnp.asarray(annotated), (count, len(annotated)))


def test_every_subset_of_the_annotated_raters_is_drawn_and_no_other():
  count = 3000
  chosen = np.asarray(random_subset(keys(count), repeated([True, True, False, True], count)))
  assert chosen.any(1).all() and not chosen[:, 2].any()
  sizes = np.bincount(chosen.sum(1), minlength=4)[1:]
  np.testing.assert_allclose(sizes / count, 1 / 3, atol=0.04)
  for size, share in ((1, 1 / 9), (2, 1 / 9), (3, 1 / 3)):
    for subset in itertools.combinations([0, 1, 3], size):
      wanted = np.isin(np.arange(4), subset)
      assert (chosen == wanted).all(1).mean() == pytest.approx(share, abs=0.03)


def test_a_padding_row_has_an_empty_subset():
  assert not random_subset(keys(3), repeated([False, False], 3)).any()


def masks_of_three():
  """Pixels: all say 0; one says 1; two say 1; all say 1; 0, 1 and 2; two say 2."""
  votes = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 2], [2, 2, 0]])
  return jax.nn.one_hot(jnp.asarray(votes.T)[:, :, None], 3)  # [r h w k]


def drawn(name, count=200):
  masks = jnp.broadcast_to(masks_of_three(), (count, 3, 6, 1, 3))
  targets = CONSENSUS[name](keys(count), masks, repeated([True] * 3, count))
  subsets = random_subset(keys(count), repeated([True] * 3, count))
  return np.asarray(targets)[:, :, 0], np.asarray(subsets)


@every_consensus
def test_targets_are_distributions_of_what_the_subset_drew(name):
  targets, subsets = drawn(name)
  np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
  if name != 'soft':
    assert set(np.unique(targets)) == {0, 1}
  np.testing.assert_array_equal(targets[:, 0, 0], 1)
  np.testing.assert_array_equal(targets[:, 3, 1], 1)
  single = subsets.sum(1) == 1
  own = np.asarray(masks_of_three())[subsets[single].argmax(1), :, 0]
  np.testing.assert_allclose(targets[single], own, atol=1e-6)


def test_each_consensus_is_its_own_of_all_three():
  whole = {}
  for name in CONSENSUS:
    targets, subsets = drawn(name)
    whole[name] = targets[subsets.all(1)]
  np.testing.assert_allclose(whole['soft'][0, :, 1], [0, 1 / 3, 2 / 3, 1, 1 / 3, 0], atol=1e-6)
  np.testing.assert_array_equal(whole['majority'].argmax(-1)[0], [0, 0, 1, 1, 0, 2])
  np.testing.assert_array_equal(whole['and'].argmax(-1)[0], [0, 0, 0, 1, 0, 0])
  rate = whole['bernoulli'].mean(0)[:, 1]
  np.testing.assert_allclose(rate, whole['soft'][0, :, 1], atol=0.2)
  assert 0 < rate[1] < 1


def test_wrong_names_are_refused():
  arguments = {'num_classes': 2, 'num_raters': 2, 'trunk': {'name': 'unet'}, 'denoiser': {}}
  with pytest.raises(ValueError, match='stages consensus and preference, not "both"'):
    diffoseg(stage='both', **arguments)
  with pytest.raises(ValueError, match='no consensus "or"; choose one of soft, bernoulli'):
    diffoseg(consensus='or', **arguments)


def test_the_second_stage_begins_where_the_first_ended():
  """What it adds starts at zero but for the rater's vector, here put to zero."""
  config = shrunk.config_of('diffoseg')
  batch = shrunk.batch()
  first, second = (
    build_method(config, stage, num_raters=shrunk.RATERS, num_classes=2)
    for stage in ('consensus', 'preference')
  )
  params = jax.jit(first.init)(jax.random.key(0), batch)
  params = jax.tree.map(lambda leaf: leaf + 0.05, params)
  grown = jax.jit(second.init)(jax.random.key(1), batch)
  added = grown['denoiser']
  table = jnp.zeros_like(added['condition']['kernel'])
  grown = params | {
    'denoiser': added | params['denoiser'] | {'condition': {'kernel': table}},
  }
  rngs = keys(2)
  one = first.sample(params, rngs, batch['image'][:2], 2)
  two = second.sample(grown, rngs, batch['image'][:2], 2)
  np.testing.assert_allclose(two, one, atol=1e-5)
