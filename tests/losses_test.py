import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from multirater_jax import losses
from multirater_jax.metrics import agreement, count

B, S, R, H, W = 3, 4, 3, 6, 5
TERMS = {name: jax.jit(getattr(losses, name)) for name in ('ged_loss', 'consensus')}
soft_iou = jax.jit(losses.soft_iou)
segmentation = jax.jit(losses.segmentation)
ged_loss = TERMS['ged_loss']


def probabilities(seed, *shape, classes=2, sharpness=2.0):
  logits = sharpness * np.random.default_rng(seed).normal(size=(*shape, H, W, classes))
  return jax.nn.softmax(jnp.asarray(logits, jnp.float32))


def labels(seed, *shape, classes=2):
  return jnp.asarray(np.random.default_rng(seed).integers(0, classes, (*shape, H, W)), jnp.uint8)


def everyone(b=B, r=R):
  return jnp.ones((b, r), bool)


def one_hot(masks, classes=2):
  return np.eye(classes)[np.asarray(masks)]


@pytest.mark.parametrize('classes', [2, 4])
def test_cross_entropy_and_dice_are_their_formulas(classes):
  logits = np.random.default_rng(0).normal(size=(2, B, H, W, classes))
  mask = labels(1, 2, B, classes=classes)
  truth = one_hot(mask, classes)
  probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  terms = segmentation(jnp.asarray(logits, jnp.float32), mask)
  expected = -(np.log(probs) * truth).sum(-1).mean((-2, -1))
  np.testing.assert_allclose(terms['cross_entropy'], expected, rtol=1e-5)
  p, y = probs[..., 1:], truth[..., 1:]
  dice = (2 * (p * y).sum((-3, -2)) + 1) / (p.sum((-3, -2)) + y.sum((-3, -2)) + 1)
  np.testing.assert_allclose(terms['dice'], 1 - dice.mean(-1), rtol=1e-5)


def test_dice_by_hand():
  mask = jnp.zeros((1, 2, 2), jnp.int32).at[0, 0].set(1)  # two pixels of foreground

  def probs(p):
    return jnp.stack([1 - jnp.asarray(p), jnp.asarray(p)], -1)[None]

  for foreground, expected in [
    ([[1.0, 1.0], [0.0, 0.0]], 0),
    ([[0.0, 0.0], [1.0, 1.0]], 1 - 1 / 5),
    ([[0.5, 0.5], [0.5, 0.5]], 1 - 3 / 5),
  ]:
    np.testing.assert_allclose(losses.soft_dice(probs(foreground), mask), [expected], atol=1e-6)
  np.testing.assert_allclose(losses.soft_dice(probs(jnp.zeros((2, 2))), 0 * mask), [0], atol=1e-6)


def test_gradients_are_finite_where_masks_are_empty_and_logits_extreme():
  mask = jnp.zeros((B, R, H, W), jnp.uint8)

  def total(logits):
    samples = jax.nn.softmax(logits)
    own = segmentation(logits[:, 0], mask[:, 0])
    return sum(
      term.sum()
      for term in [
        *own.values(),
        *ged_loss(samples, mask, everyone()).values(),
        losses.consensus(samples, mask, everyone()),
      ]
    )

  run = jax.jit(jax.value_and_grad(total))
  for scale in (0.0, 1.0, 1e4):
    logits = scale * jnp.log(probabilities(0, B, S))
    value, gradient = run(logits)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize('classes', [2, 3])
def test_soft_iou_is_its_formula(classes):
  a = np.asarray(probabilities(0, B, S, classes=classes))
  b = np.asarray(probabilities(1, B, R, classes=classes))
  actual = soft_iou(jnp.asarray(a), jnp.asarray(b))
  for i in range(B):
    for s in range(S):
      for r in range(R):
        p, q = a[i, s, ..., 1:], b[i, r, ..., 1:]
        both = (p * q).sum((0, 1))
        union = (p**2).sum((0, 1)) + (q**2).sum((0, 1)) - both
        np.testing.assert_allclose(actual[i, s, r], ((both + 1) / (union + 1)).mean(), rtol=1e-5)


def test_a_soft_map_has_no_distance_to_itself():
  maps = probabilities(0, B, S)
  own = jnp.diagonal(soft_iou(maps, maps), axis1=1, axis2=2)
  np.testing.assert_allclose(own, 1, atol=1e-6)
  empty = jnp.zeros((1, 1, H, W, 2)).at[..., 0].set(1)
  np.testing.assert_allclose(soft_iou(empty, empty), 1)
  full = 1 - empty
  np.testing.assert_allclose(soft_iou(empty, full), 1 / (H * W + 1), rtol=1e-6)


def test_energy_distance_is_zero_where_samples_and_raters_agree():
  masks = jnp.broadcast_to(labels(0, B)[:, None], (B, R, H, W))
  samples = jnp.broadcast_to(jax.nn.one_hot(masks[:, :1], 2), (B, S, H, W, 2))
  terms = ged_loss(samples, masks, everyone())
  for name in ('ged_loss', 'sample_distance', 'cross_distance'):
    np.testing.assert_allclose(terms[name], 0, atol=1e-6)


def test_energy_distance_is_its_formula():
  samples, masks = probabilities(0, B, S), labels(1, B, R)
  terms = ged_loss(samples, masks, everyone())
  cross = 1 - soft_iou(samples, jnp.asarray(one_hot(masks), jnp.float32))
  among = np.asarray(1 - soft_iou(samples, samples))
  pairs = [among[:, s, t] for s in range(S) for t in range(S) if s != t]
  np.testing.assert_allclose(terms['cross_distance'], cross.mean((1, 2)), rtol=1e-5)
  np.testing.assert_allclose(terms['sample_distance'], np.mean(pairs, axis=0), rtol=1e-5)
  expected = 2 * terms['cross_distance'] - terms['sample_distance']
  np.testing.assert_allclose(terms['ged_loss'], expected, rtol=1e-5)


def test_energy_distance_of_one_sample_has_no_spread():
  terms = ged_loss(probabilities(0, B, 1), labels(1, B, R), everyone())
  np.testing.assert_allclose(terms['sample_distance'], 0, atol=1e-6)
  np.testing.assert_allclose(terms['ged_loss'], 2 * terms['cross_distance'], rtol=1e-5)


@pytest.mark.parametrize('name', ['ged_loss', 'consensus'])
def test_order_of_samples_and_raters_does_not_matter(name):
  samples, masks = probabilities(0, B, S), labels(1, B, R)
  drew = jnp.asarray([[1, 1, 0], [0, 1, 1], [1, 1, 1]], bool)
  term = TERMS[name]
  expected = term(samples, masks, drew)
  s, r = jnp.asarray([2, 0, 3, 1]), jnp.asarray([2, 0, 1])
  shuffled = term(samples[:, s], masks[:, r], drew[:, r])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), shuffled, expected)


@pytest.mark.parametrize('name', ['ged_loss', 'consensus'])
def test_a_rater_that_did_not_draw_is_as_good_as_absent(name):
  samples, masks = probabilities(0, B, S), labels(1, B, R)
  term = TERMS[name]
  drew = everyone().at[:, 1].set(False)
  expected = term(samples, masks[:, ::2], everyone(B, 2))
  for other in (masks, masks.at[:, 1].set(0), masks.at[:, 1].set(1)):
    actual = term(samples, other, drew)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), actual, expected)
  nobody = term(samples, masks, jnp.zeros_like(drew))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(nobody))


def scored(samples, masks, drew):
  """The training loss, and the evaluated energy distance, on hard masks."""
  hard = jax.nn.one_hot(samples, 2)
  both = jax.jit(
    lambda *args: (losses.ged_loss(*args), agreement.ged(count(*args).pairs))
  )  # compiled anew for each test, since one of them changes a constant
  return both(hard, masks, drew)


def test_trained_and_evaluated_energy_distance_differ_by_self_pairs_and_a_constant(monkeypatch):
  samples, masks = labels(0, B, S), labels(1, B, R)
  drew = jnp.asarray([[1, 1, 0], [1, 0, 1], [1, 1, 1]], bool)
  monkeypatch.setattr(losses, '_SMOOTH', 0.0)  # no mask here is empty
  terms, ged = scored(samples, masks, drew)
  np.testing.assert_allclose(terms['cross_distance'], ged.cross, rtol=1e-5)
  np.testing.assert_allclose(terms['sample_distance'] * (S - 1) / S, ged.samples, rtol=1e-5)
  expected = ged.value + ged.raters + ged.samples - terms['sample_distance']
  np.testing.assert_allclose(terms['ged_loss'], expected, atol=1e-5)


def test_smoothing_hardly_moves_the_distance_of_masks_of_usual_size():
  rng = np.random.default_rng(0)
  rows, columns = np.indices((64, 64)) - 32

  def disks(number):
    radius = rng.uniform(9, 14, (2, number, 1, 1))
    shift = rng.uniform(-3, 3, (2, 2, number, 1, 1))
    inside = (rows + shift[0]) ** 2 + (columns + shift[1]) ** 2 < radius**2
    return jnp.asarray(inside, jnp.uint8)

  terms, ged = scored(disks(S), disks(R), everyone(2))
  np.testing.assert_allclose(terms['cross_distance'], ged.cross, rtol=5e-3)
  np.testing.assert_allclose(terms['sample_distance'] * (S - 1) / S, ged.samples, rtol=5e-3)


def test_consensus_is_least_where_the_mean_of_the_samples_is_that_of_the_votes():
  masks = labels(0, B, R)
  votes = one_hot(masks).mean(1)
  entropy = -(votes * np.log(np.maximum(votes, 1e-6))).sum(-1).mean((1, 2))
  exact = losses.consensus(jnp.asarray(one_hot(masks), jnp.float32), masks, everyone())
  np.testing.assert_allclose(exact, entropy, atol=1e-5)
  samples = probabilities(1, B, S)
  other = losses.consensus(samples, masks, everyone())
  expected = -(votes * np.log(np.asarray(samples).mean(1))).sum(-1).mean((1, 2))
  np.testing.assert_allclose(other, expected, rtol=1e-5)
  assert (other > exact).all()


def test_mean_over_raters_counts_those_that_drew():
  values = jnp.asarray([[1.0, 2.0, 6.0], [1.0, 2.0, 6.0], [1.0, 2.0, 6.0]])
  drew = jnp.asarray([[1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)
  np.testing.assert_allclose(losses.rater_mean(values, drew), [3.5, 2.0, 0.0])


def test_divergence_of_gaussians_is_its_closed_form():
  rng = np.random.default_rng(0)
  m_q, l_q, m_p, l_p = (jnp.asarray(rng.normal(size=(B, 5)), jnp.float32) for _ in range(4))
  s_q, s_p = np.exp(l_q), np.exp(l_p)
  expected = np.log(s_p / s_q) + (s_q**2 + (m_q - m_p) ** 2) / (2 * s_p**2) - 0.5
  np.testing.assert_allclose(losses.kl_gaussian(m_q, l_q, m_p, l_p), expected, rtol=1e-4)
  np.testing.assert_allclose(losses.kl_gaussian(m_q, l_q, m_q, l_q), 0, atol=1e-6)
  assert (losses.kl_gaussian(m_q, l_q, m_p, l_p) > 0).all()
  wide, narrow = jnp.full((1, 1), 5.0), jnp.full((1, 1), -5.0)
  assert np.isfinite(losses.kl_gaussian(wide, wide, narrow, narrow)).all()


def test_only_raters_that_drew_are_chosen_and_each_as_often():
  patterns = jnp.asarray([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
  drew = patterns.repeat(3000, axis=0)
  keys = jax.random.split(jax.random.key(0), len(drew))
  chosen = losses.choose_rater(keys, drew).reshape(3, 3000)
  share = np.stack([np.bincount(row, minlength=4) for row in np.asarray(chosen)]) / 3000
  third = 1 / 3
  expected = [[third, 0, third, third], [0, 1, 0, 0], [1, 0, 0, 0]]
  np.testing.assert_allclose(share, expected, atol=0.03)
  assert (share[np.asarray(expected) == 0] == 0).all()
  again = losses.choose_rater(keys[:1], drew[:1])
  assert again[0] == chosen[0, 0]  # the rest of the batch does not matter


def test_masks_of_the_chosen_raters():
  masks = labels(0, B, R)
  rater = jnp.asarray([2, 0, 1])
  expected = np.asarray(masks)[np.arange(B), rater]
  np.testing.assert_array_equal(losses.masks_of(masks, rater), expected)


def test_ramp_rises_once():
  values = [float(losses.ramp(jnp.asarray(step), 4)) for step in (0, 1, 2, 4, 100)]
  assert values == [0, 0.25, 0.5, 1, 1]
  assert float(losses.ramp(jnp.asarray(0), 0)) == 1


def test_bounds_are_the_hull_of_annotated_masks():
  masks = jnp.asarray([[[[1, 1, 0]], [[1, 0, 0]], [[1, 1, 1]]]], jnp.uint8)
  annotated = jnp.asarray([[True, True, False]])
  union, shared = jnp.array([[1, 1, 0]]), jnp.array([[1, 0, 0]])
  samples = jnp.stack([jax.nn.one_hot(union, 2), jax.nn.one_hot(shared, 2)])[None]
  bound = jax.jit(losses.bound)
  np.testing.assert_allclose(bound(samples, masks, annotated), 0, atol=1e-6)
  all_three = bound(samples, masks, jnp.ones((1, 3), bool))
  np.testing.assert_allclose(all_three, 0.5 * (1 - 5 / 6), atol=1e-6)
  blurred = bound(samples[:, :1], masks, annotated)  # one sample cannot be both bounds
  np.testing.assert_allclose(blurred, 0.5 * (1 - 3 / 4), atol=1e-6)


def test_own_masks_pair_rater_with_rater():
  masks = labels(0, B, R)
  logits = 20.0 * jax.nn.one_hot(masks, 2)
  annotated = jnp.asarray([[True, True, True], [True, False, True], [False, False, False]])
  own = jax.jit(losses.own_masks)
  right = own(logits, masks, annotated)
  wrong = own(logits[:, ::-1], masks, annotated)
  np.testing.assert_allclose(right['dice'], 0, atol=1e-3)
  assert (wrong['dice'][:2] > 0.1).all() and wrong['dice'][2] == 0
  absent = own(logits.at[1, 1].multiply(-1), masks, annotated)
  np.testing.assert_allclose(absent['dice'], right['dice'])


def test_kl_of_dirichlet_and_standard_gaussian_against_samples():
  alpha = np.array([0.7, 2.0, 3.5])
  draws = np.random.default_rng(0).dirichlet(alpha, 200_000)
  log_density = scipy.stats.dirichlet(alpha).logpdf(draws.T) - np.log(2)  # Dir(1) has density 2
  actual = jax.jit(losses.kl_dirichlet)(jnp.asarray(alpha, jnp.float32))
  np.testing.assert_allclose(actual, log_density.mean(), rtol=0.02)
  np.testing.assert_allclose(jax.jit(losses.kl_dirichlet)(jnp.ones(5)), 0, atol=1e-5)
  mean, log_sigma = jnp.array([0.5, -1.0]), jnp.array([0.3, -0.7])
  zero = jnp.zeros(2)
  expected = losses.kl_gaussian(mean[None], log_sigma[None], zero[None], zero[None])[0]
  np.testing.assert_allclose(losses.kl_standard(mean, log_sigma), expected, rtol=1e-5)


def test_active_dimensions_are_counted():
  terms = losses.kl_terms(jnp.array([[0.0, 0.001, 0.5], [0.1, 0.2, 0.3]]))
  np.testing.assert_allclose(terms['active_dims'], [1, 3])
  np.testing.assert_allclose(terms['kl'], [0.501, 0.6], rtol=1e-5)
