"""Counts add: over slices, tiles, batches and padding; scores do not see how they were summed."""

import cases
import jax
import numpy as np
import pytest

from multirater_jax.metrics import add, add_to_units, unit_scores, zeros
from multirater_jax.metrics.case import count_case

SHAPE = cases.Shape(units=40, samples=5, raters=3, depth=3)
EVERYWHERE = np.ones((SHAPE.units, *SHAPE.size), bool)


@pytest.fixture(scope='module')
def volumes():
  return cases.random_units(5, SHAPE)


@pytest.fixture(scope='module')
def totals(volumes):
  arrays, unit = cases.rows(*volumes)
  return add_to_units(cases.jit_count(*arrays), unit, SHAPE.units)


def assert_same(one, two, atol=1e-6):
  assert one.keys() == two.keys()
  for name in one:
    np.testing.assert_allclose(one[name], two[name], rtol=0, atol=atol, err_msg=name)


def test_batch_size_and_order_do_not_matter(volumes, totals):
  arrays, unit = cases.rows(*volumes)
  order = np.random.default_rng(0).permutation(len(unit))
  total = zeros(SHAPE.units, SHAPE.samples, SHAPE.raters, 2)
  for rows in np.split(order, 3):
    part = cases.jit_count(*(a[rows] for a in arrays), EVERYWHERE)
    total = add(total, add_to_units(part, unit[rows], SHAPE.units))
  assert_same(unit_scores(total), unit_scores(totals))


def test_slices_are_the_volume(volumes):
  probs, masks, drew = volumes
  drew = np.repeat(drew[:, :, :1], SHAPE.depth, 2)
  arrays, unit = cases.rows(probs, masks, drew)
  slices = unit_scores(add_to_units(cases.jit_count(*arrays), unit, SHAPE.units))
  tall = cases.jit_count(_stack(probs), _stack(masks), drew[:, :, 0])
  assert_same(slices, unit_scores(tall))


def _stack(volume):
  """[u n d h w ...] as images of height d h."""
  u, n, d, h = volume.shape[:4]
  return volume.reshape(u, n, d * h, *volume.shape[4:])


@pytest.fixture(scope='module')
def images(volumes):
  probs, masks, drew = volumes
  return probs[:, :, 0], masks[:, :, 0], drew.any(-1)


def test_tiles_with_a_valid_mask_are_the_image(images):
  valid = np.zeros_like(EVERYWHERE)
  valid[:, :4, :5] = True
  parts = add(cases.jit_count(*images, valid), cases.jit_count(*images, ~valid))
  assert_same(unit_scores(cases.jit_count(*images, EVERYWHERE)), unit_scores(parts))


def test_padding_counts_nothing(images):
  probs, masks, drew = images
  counts = cases.jit_count(probs, masks, np.zeros_like(drew), EVERYWHERE)
  assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(counts))
  assert all(np.isnan(values).all() for values in unit_scores(counts).values())


def test_values_outside_valid_and_of_missing_raters_do_not_matter(images):
  probs, masks, drew = images
  valid = np.random.default_rng(0).random(EVERYWHERE.shape) < 0.7
  changed_probs = np.where(valid[:, None, ..., None], probs, probs[..., ::-1])
  changed_masks = np.where(drew[:, :, None, None] & valid[:, None], masks, 1 - masks)
  one = unit_scores(cases.jit_count(probs, masks, drew, valid))
  two = unit_scores(cases.jit_count(changed_probs, changed_masks, drew, valid))
  assert_same(one, two, atol=0)


def test_leaving_a_missing_rater_out_is_the_same(images):
  probs, masks, _ = images
  drew = np.tile([True, False, True], (SHAPE.units, 1))
  missing = unit_scores(cases.jit_count(probs, masks, drew, EVERYWHERE))
  absent = unit_scores(cases.jit_count(probs, masks[:, [0, 2]], drew[:, [0, 2]]))
  assert_same(missing, absent)


def test_count_case_pads_and_chunks_without_a_trace(volumes, monkeypatch):
  probs, masks, drew = (part[0] for part in volumes)
  drew = drew.any(-1)
  whole = count_case(probs, masks, drew)
  monkeypatch.setattr('multirater_jax.metrics.case.PIXELS', 1)
  by_slice = count_case(probs, masks, drew)
  assert_same(unit_scores(whole), unit_scores(by_slice))
  assert whole.pairs.extent[0] == np.prod(masks.shape[1:])


def test_areas_are_exact_to_the_pixel():
  rng = np.random.default_rng(0)
  hard = rng.random((1, 20, 700, 700)) < rng.random((1, 20, 1, 1))
  masks = rng.random((1, 3, 700, 700)) < 0.9
  pairs = cases.jit_count(
    np.stack([~hard, hard], -1), masks.astype(np.uint8), np.ones((1, 3), bool)
  ).pairs
  x, y = hard.reshape(20, -1).astype(int), masks.reshape(3, -1).astype(int)
  np.testing.assert_array_equal(pairs.samples[0, 0], x @ x.T)
  np.testing.assert_array_equal(pairs.cross[0, 0], x @ y.T)
  np.testing.assert_array_equal(pairs.raters[0, 0], y @ y.T)


def test_areas_are_exact_for_large_images():
  side = 2100
  probs = np.zeros((1, 1, side, side, 2), np.float32)
  probs[..., 1] = 1
  counts = cases.jit_count(probs, np.ones((1, 1, side, side), np.uint8), np.ones((1, 1), bool))
  assert counts.pairs.cross[0, 0, 0, 0] == counts.pairs.extent[0] == side * side
  assert counts.soft.both[0, 0].tolist() == [side * side] * 6
