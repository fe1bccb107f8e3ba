"""The phantom: same integers, same scene; styles that are what they say; fresh draws of one law."""

import dataclasses

import numpy as np
import pytest

from multirater_jax.data import phantom
from multirater_jax.data.errors import DataError
from multirater_jax.data.phantom.nodule import KIND_ODDS, MARGINS
from multirater_jax.data.phantom.scanner import scan
from multirater_jax.data.phantom.shapes import FIELD_OF_VIEW, smooth_fields, tube_distance

NUM_SCENES = 300
STYLES = phantom.DEFAULT_STYLES


@pytest.fixture(scope='module')
def nodules():
  return [phantom.true_nodule(seed) for seed in range(NUM_SCENES)]


@pytest.fixture(scope='module')
def recorded(nodules):
  """Masks [b r h w] as a prepared set would hold them."""
  return np.stack([phantom.annotate_all(n, i, STYLES)[0] for i, n in enumerate(nodules)])


def dice(a, b):
  """Dice of masks [... h w]; two empty masks agree."""
  both = a.sum((-1, -2), dtype=float) + b.sum((-1, -2), dtype=float)
  return np.where(both > 0, 2 * (a & b).sum((-1, -2)) / np.maximum(both, 1), 1)


def test_scene_is_a_function_of_its_seed_and_size():
  first, again, other = phantom.scene(7, 48), phantom.scene(7, 48), phantom.scene(8, 48)
  np.testing.assert_array_equal(first.image, again.image)
  np.testing.assert_array_equal(first.nodule.core, again.nodule.core)
  assert (first.image != other.image).any()
  np.testing.assert_array_equal(phantom.true_nodule(7, 48).halo, first.nodule.halo)


@pytest.mark.parametrize('size', [16, 32, 96])
def test_size_changes_the_resolution_and_not_the_anatomy(size):
  fine, coarse = phantom.scene(3, size), phantom.scene(3, 64)
  assert fine.image.shape == (size, size) and fine.image.dtype == np.uint8
  assert (fine.nodule.radius, fine.scanner) == (coarse.nodule.radius, coarse.scanner)
  share = [(s.nodule.core > 0.5).mean() for s in (fine, coarse)]
  assert share[0] == pytest.approx(share[1], rel=0.25)


def test_images_use_the_range_and_show_the_nodule():
  scenes = [phantom.scene(seed) for seed in range(60)]
  levels = np.stack([scene.image for scene in scenes]) / 255
  assert 0.03 < np.median(levels) < 0.3  # mostly lung
  assert np.percentile(levels, 99) > 0.6  # vessels, solid nodules, chest wall
  for scene, image in zip(scenes, levels, strict=True):
    core, around = scene.nodule.core > 0.8, scene.nodule.halo < 0.05
    assert image[core].mean() > np.median(image[around]) or image[around].mean() > 0.35  # in a wall


def test_maps_are_memberships(nodules):
  for nodule in nodules[:50]:
    for part in (nodule.core, nodule.halo, nodule.spicules):
      assert part.min() >= 0 and part.max() <= 1
    assert nodule.core.max() > 0.8
    assert (nodule.spicules.max() > 0.5) == (nodule.margin == 'spiculated')


def test_kinds_margins_and_scanners_come_at_their_odds(nodules):
  kinds = np.array([nodule.kind for nodule in nodules])
  for kind, odds in zip(phantom.KINDS, KIND_ODDS, strict=True):
    assert (kinds == kind).mean() == pytest.approx(odds, abs=0.1)
  assert {nodule.margin for nodule in nodules} == set(MARGINS)
  scanners = {phantom.scene(seed, 16).scanner for seed in range(60)}
  assert scanners == set(range(len(phantom.SCANNERS)))


def scan_of_nothing(name, seed=0):
  """What a scanner makes of even lung, 0 to 1."""
  by_name = {scanner.name: scanner for scanner in phantom.SCANNERS}
  lung = np.full((64, 64), -700, np.float32)
  return scan(np.random.default_rng(seed), lung, by_name[name]) / 255


def test_sharp_kernel_has_more_noise():
  assert scan_of_nothing('sharp').std() > 2 * scan_of_nothing('standard').std()


def test_low_dose_has_streaks_along_the_rows():
  image = scan_of_nothing('low-dose')
  along = np.corrcoef(image[:, :-4].ravel(), image[:, 4:].ravel())[0, 1]
  across = np.corrcoef(image[:-4].ravel(), image[4:].ravel())[0, 1]
  assert along > 0.2 > across + 0.1


def test_drifting_scanner_is_brighter_and_tilted():
  drifting, standard = scan_of_nothing('drifting'), scan_of_nothing('standard')
  assert drifting.mean() > 1.3 * standard.mean()
  tilt = [
    max(np.ptp(image.mean(axis)[::8]) for axis in (0, 1)) / image.mean()
    for image in (drifting, standard)
  ]
  assert tilt[0] > 2 * tilt[1]


@pytest.mark.parametrize('num_raters', [1, 2, 4, 9])
def test_any_number_of_raters(num_raters):
  styles = phantom.make_styles(num_raters)
  assert len(set(styles)) == num_raters
  masks, annotated = phantom.annotate_all(phantom.true_nodule(0, 32), 0, styles)
  assert masks.shape == (num_raters, 32, 32) and annotated.all()
  assert phantom.fresh_personal([0, 1], 0, size=32, styles=styles).shape == (2, num_raters, 32, 32)


def test_styles_for_four_raters_are_the_default_ones():
  assert phantom.make_styles(4) == STYLES
  with pytest.raises(DataError, match='at least one rater'):
    phantom.make_styles(0)


def test_styles_order_the_areas(recorded):
  drawn = recorded.any((-1, -2)).all(1)
  areas = recorded[drawn].sum((-1, -2)).mean(0)
  assert (np.diff(areas) > 0).all()
  assert 0.45 < areas[0] / areas[-1] < 0.7


def test_raters_agree_about_as_much_as_real_ones(recorded):
  drawn = recorded[recorded.any((-1, -2)).all(1)]
  pairs = [dice(drawn[:, i], drawn[:, j]).mean() for i in range(4) for j in range(i)]
  assert np.mean(pairs) == pytest.approx(0.8, abs=0.03)  # real LIDC, all four outlined: 0.80


def test_misses_come_at_the_documented_rate(nodules):
  style = dataclasses.replace(STYLES[0], miss=0.2)
  rng = np.random.default_rng(0)
  empty = [not phantom.annotate(nodule, style, rng).any() for nodule in nodules for _ in range(3)]
  assert np.mean(empty) == pytest.approx(0.2, abs=0.04)
  never = dataclasses.replace(style, miss=0.0, threshold=0.9, smoothing=1.5)
  assert all(phantom.annotate(nodule, never, rng).any() for nodule in nodules)


@pytest.mark.parametrize('part', ['spicules', 'halo'])
def test_a_style_includes_a_part_or_leaves_it_out(nodules, part):
  bearing = [n for n in nodules if getattr(n, part).max() > 0.5][:40]
  plain = dataclasses.replace(STYLES[2], spicules=0.0, halo=0.0, miss=0.0, spread=0.0, tremor=0.0)
  full = dataclasses.replace(plain, **{part: 1.0})
  for nodule in bearing:
    without, with_part = (
      phantom.annotate(nodule, s, np.random.default_rng(0)) for s in (plain, full)
    )
    assert with_part.sum() > without.sum()


def test_smoothing_rounds_and_tremor_varies(nodules):
  still = dataclasses.replace(STYLES[2], spicules=1.0, halo=0.0, miss=0.0, spread=0.0, tremor=0.0)
  spiky = [n for n in nodules if n.margin == 'spiculated'][:30]

  def border(style):
    masks = [phantom.annotate(n, style, np.random.default_rng(0)).astype(int) for n in spiky]
    return np.mean([np.abs(np.diff(m, axis=0)).sum() / np.sqrt(m.sum()) for m in masks])

  assert border(dataclasses.replace(still, smoothing=1.5)) < 0.85 * border(still)

  def repeats(style):
    rng = np.random.default_rng(0)
    return np.mean(
      [dice(phantom.annotate(n, style, rng), phantom.annotate(n, style, rng)) for n in spiky]
    )

  assert repeats(still) == 1
  assert repeats(dataclasses.replace(still, tremor=0.2)) > repeats(
    dataclasses.replace(still, tremor=0.6)
  )


def test_fresh_draws_differ_from_the_recorded_ones_and_follow_their_law(nodules, recorded):
  fresh = phantom.fresh_personal(range(NUM_SCENES), 0)
  assert (fresh != recorded).any((-1, -2)).mean() > 0.9
  drawn = recorded.any((-1, -2)) & fresh.any((-1, -2))
  for rater in range(len(STYLES)):
    sizes = [masks[drawn[:, rater], rater].sum((-1, -2)).mean() for masks in (fresh, recorded)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.08)
  own = dice(fresh, recorded).mean()
  other = np.mean([dice(fresh, np.roll(recorded, shift, 1)).mean() for shift in (1, 2, 3)])
  assert own > other + 0.04  # a rater resembles himself more than the others


def test_fresh_samples_are_the_mixture_of_the_raters(recorded):
  samples = phantom.fresh_samples(range(NUM_SCENES), 4, 0)
  assert samples.shape == (NUM_SCENES, 4, 64, 64) and samples.dtype == np.uint8
  assert samples.mean() == pytest.approx(recorded.mean(), rel=0.06)
  empty = [1 - masks.any((-1, -2)).mean() for masks in (samples, recorded)]
  assert empty[0] == pytest.approx(np.mean([style.miss for style in STYLES]), abs=0.015)
  assert empty[1] == pytest.approx(np.mean([style.miss for style in STYLES]), abs=0.015)


def test_fresh_draws_depend_on_the_scene_and_the_seed_alone():
  both = phantom.fresh_samples([4, 9], 3, 1, size=32)
  np.testing.assert_array_equal(both[1:], phantom.fresh_samples([9], 3, 1, size=32))
  assert (both != phantom.fresh_samples([4, 9], 3, 2, size=32)).any()


def test_missing_raters_leave_the_others_as_they_were(nodules):
  counts = []
  for seed, nodule in enumerate(nodules[:100]):
    full, _ = phantom.annotate_all(nodule, seed, STYLES)
    masks, annotated = phantom.annotate_all(nodule, seed, STYLES, missing=0.4)
    np.testing.assert_array_equal(masks[annotated], full[annotated])
    assert annotated.any() and not masks[~annotated].any()
    counts.append(annotated.mean())
  assert np.mean(counts) == pytest.approx(0.6, abs=0.08)
  _, annotated = phantom.annotate_all(nodules[0], 0, STYLES, missing=1.0)
  assert annotated.sum() == 1


def test_names_carry_the_seed():
  assert phantom.scene_name(123) == 'scene-000123'
  assert [phantom.scene_seed(phantom.scene_name(s)) for s in (0, 123, 7_000_001)] == [
    0,
    123,
    7_000_001,
  ]
  with pytest.raises(DataError, match='no phantom scene'):
    phantom.scene_seed('LIDC-IDRI-0001/slice-3')


def test_tube_distance_is_the_largest_over_the_discs():
  rng = np.random.default_rng(0)
  points, radii = rng.uniform(-9, 9, (5, 2)).astype(np.float32), np.ones(5, np.float32)
  center = (np.arange(20) + 0.5) * FIELD_OF_VIEW / 20 - FIELD_OF_VIEW / 2
  expected = max(1 - np.hypot(center[3] - y, center[11] - x) for y, x in points)
  assert tube_distance(points, radii, 20)[3, 11] == pytest.approx(expected, abs=1e-4)
  many = np.concatenate([points] * 2000), np.concatenate([radii] * 2000)  # takes several blocks
  np.testing.assert_allclose(tube_distance(*many, 20), tube_distance(points, radii, 20), atol=1e-5)


def test_smooth_fields_have_unit_variance_at_every_pixel():
  fields = smooth_fields(np.random.default_rng(0), 4000, 24, 4.0)
  np.testing.assert_allclose(fields.var(0), 1, atol=0.15)
  assert np.corrcoef(fields[:, 12, 12], fields[:, 12, 13])[0, 1] > 0.9
