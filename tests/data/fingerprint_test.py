import json
import shutil

import numpy as np
import pytest
from PIL import Image

from multirater_jax.data import fingerprint
from multirater_jax.data.errors import DataError
from multirater_jax.data.morphology import LEAST, measure, perimeter
from multirater_jax.data.rater_effect import explain
from multirater_jax.data.source import Source
from tfds_builders import prepare


def disk(radius, size=80, center=(40.3, 39.8)):
  rows, columns = np.mgrid[:size, :size]
  return np.hypot(rows - center[0], columns - center[1]) <= radius


@pytest.mark.parametrize('radius', [5, 12.5, 30])
def test_disks_have_the_perimeter_and_compactness_of_disks(radius):
  assert perimeter(disk(radius)) == pytest.approx(2 * np.pi * radius, rel=0.06)
  assert measure(disk(radius)).compactness == pytest.approx(1, abs=0.1)


def test_shape_of_squares_pairs_and_specks():
  square = np.zeros((60, 60), bool)
  square[10:50, 10:50] = True
  assert measure(square).compactness == pytest.approx(np.pi / 4, rel=0.15)  # four directions only
  pair = np.zeros((40, 90), bool)
  pair[:, :40], pair[:, 50:] = disk(12, 40, (20, 20)), disk(12, 40, (20, 20))
  shape = measure(pair)
  assert shape.pieces == 2
  assert shape.compactness == pytest.approx(0.5, abs=0.05)
  speck = np.zeros((9, 9), bool)
  speck[0, : LEAST - 8] = True
  assert measure(speck).area == LEAST - 8
  assert np.isnan(measure(speck)[1:]).all()


def test_shape_does_not_depend_on_place_and_border():
  inside = measure(disk(10))
  cut = disk(10)[30:51, 29:51]
  assert measure(np.pad(cut, ((0, 7), (0, 0)))) == inside


def test_a_frayed_outline_is_rougher():
  frayed = disk(20) & ~(disk(20) & ~disk(17) & (np.indices((80, 80)).sum(0) % 4 < 2))
  assert measure(frayed).roughness > 3 * measure(disk(20)).roughness


def simulated(rng, images, offsets, noise):
  values = rng.normal(0, 2, (images, 1)) + np.array(offsets) + rng.normal(0, noise, (images, 1))
  return values + rng.normal(0, noise, values.shape)


def test_share_of_complete_data_is_that_of_the_textbook():
  rng = np.random.default_rng(0)
  values = simulated(rng, 40, [-0.5, 0.0, 0.1, 0.4], 0.3)
  effect = explain(values, range(40))
  within = values - values.mean(axis=1, keepdims=True)
  raters = within.mean(axis=0)
  assert effect.share == pytest.approx(40 * np.square(raters).sum() / np.square(within).sum())
  np.testing.assert_allclose(effect.offsets, raters, atol=1e-9)
  whole = np.square(values - values.mean()).sum()
  assert effect.between == pytest.approx(1 - np.square(within).sum() / whole)
  assert effect.low < effect.share < effect.high
  assert effect.chance == pytest.approx(1 / 40)
  assert effect.images == 40


def test_offsets_are_found_where_most_values_are_absent():
  rng = np.random.default_rng(1)
  values = simulated(rng, 2000, [-0.5, 0.1, 0.4], 0.01)
  values[rng.random(values.shape) < 0.5] = np.nan
  values[:, 1] = np.where(values[:, 0] > 0, np.nan, values[:, 1])  # absent not at random
  effect = explain(values, range(2000))
  np.testing.assert_allclose(effect.offsets, [-0.5, 0.1, 0.4], atol=0.01)
  assert effect.share > 0.99


def test_raters_who_do_not_differ_explain_what_chance_does():
  rng = np.random.default_rng(2)
  shares = [explain(simulated(rng, 12, [0, 0, 0], 1.0), range(12)) for _ in range(100)]
  assert np.mean([effect.share for effect in shares]) == pytest.approx(shares[0].chance, rel=0.2)


def test_cases_are_resampled_whole():
  rng = np.random.default_rng(3)
  values = np.repeat(simulated(rng, 10, [0.0, 0.3], 0.3), 20, axis=0)
  loose, tied = explain(values, range(200)), explain(values, [i // 20 for i in range(200)])
  assert loose.share == pytest.approx(tied.share)
  assert tied.high - tied.low > 2 * (loose.high - loose.low)


@pytest.mark.parametrize(
  'values', [np.zeros((0, 3)), np.array([[1, np.nan], [np.nan, 2]]), np.ones((5, 2))]
)
def test_nothing_to_compare_gives_nothing(values):
  assert explain(values, range(len(values))) is None


def test_rater_never_seen_has_no_offset():
  values = np.array([[1.0, 2.0, np.nan], [2.0, 3.5, np.nan]])
  assert np.isnan(explain(values, 'ab').offsets).tolist() == [False, False, True]


def test_pairs_without_both_masks_have_no_dice():
  masks = np.zeros((4, 4, 4), bool)
  masks[0, :2], masks[1, 1:] = True, True
  dice = fingerprint.pair_dice(masks, np.array([True, True, True, False]))
  assert dice[0, 1] == dice[1, 0] == pytest.approx(2 * 4 / (8 + 12))
  assert dice[0, 2] == 0  # one empty mask
  assert np.isnan(dice[3, :]).all()
  assert np.isnan(dice[2, 2])  # two empty masks


def test_what_is_written_beside_a_set(tiny_dir):
  found = fingerprint.load(tiny_dir)
  source = Source(tiny_dir)
  assert found == json.loads((tiny_dir / fingerprint.NAME).read_text())
  assert found == fingerprint.load(tiny_dir)
  assert found['hash'] == source.info.hash
  assert (found['records'], found['cases']) == (11, 6)
  assert found['records_by_raters'] == {'2': 4, '3': 7}
  lines = found['rater_statistics']
  assert [line['annotated'] for line in lines] == [7, 11, 11]
  areas = [record['areas'][1] for record in source.info.records]
  assert lines[1]['area'] == np.median(areas)
  assert lines[0]['area_ratio'] > lines[1]['area_ratio'] > lines[2]['area_ratio']
  assert found['size'] == {'height': [16, 33, 48], 'width': [20, 20, 70]}
  assert found['spacing'] == {'row': None, 'column': None}
  pixels = np.concatenate([source[index]['image'].ravel() for index in range(11)])
  (channel,) = found['intensity']
  assert channel['mean'] == pytest.approx(pixels.mean())
  assert channel['deviation'] == pytest.approx(pixels.std())
  assert (channel['minimum'], channel['maximum']) == (0, 255)
  assert channel['percentile 50'] == pytest.approx(np.median(pixels), abs=5)
  assert found['dice']['pairs'][1][2] == pytest.approx(2 / 3)  # rows 2 and 1
  assert found['rater_effect']['area']['share'] > 0.99
  assert 'personalization makes sense' in found['personalization']


def test_a_fingerprint_of_other_records_is_refused_with_both_hashes(tiny_dir, tmp_path):
  mine = fingerprint.load(tiny_dir)['hash']
  other = prepare('phantom', tmp_path, size=16, num_images=3)
  (other / fingerprint.NAME).write_bytes((tiny_dir / fingerprint.NAME).read_bytes())
  with pytest.raises(DataError) as error:
    fingerprint.load(other)
  assert mine in str(error.value)
  assert Source(other).info.hash in str(error.value)


@pytest.mark.parametrize('content', ['', '{"hash"', '[]', '{"version": 0, "hash": "HASH"}'])
def test_a_damaged_or_older_fingerprint_is_made_anew(tiny_dir, content):
  found = fingerprint.load(tiny_dir)
  (tiny_dir / fingerprint.NAME).write_text(content.replace('HASH', found['hash']))
  assert fingerprint.load(tiny_dir) == found
  assert json.loads((tiny_dir / fingerprint.NAME).read_text()) == found


def test_a_set_that_cannot_be_written_has_a_fingerprint_all_the_same(tmp_path, monkeypatch):
  directory = prepare('phantom', tmp_path, size=16, num_images=3)

  def refuse(*_):
    raise PermissionError('read-only')

  monkeypatch.setattr(fingerprint.os, 'replace', refuse)
  assert fingerprint.load(directory)['records'] == 3
  assert not list(directory.glob('fingerprint*'))


def test_slots_are_never_called_personal():
  rng = np.random.default_rng(0)
  strong = {'area': explain(simulated(rng, 50, [-1, 1], 0.1), range(50))}
  weak = {'area': explain(simulated(rng, 50, [-0.3, 0.3], 1.0), range(50))}
  assert 'makes sense' in fingerprint.verdict(strong, identity=True)
  assert 'no person' in fingerprint.verdict(strong, identity=False)
  assert 'makes sense' not in fingerprint.verdict(strong, identity=False)
  assert 'makes sense' not in fingerprint.verdict(weak, identity=True)
  assert 'nothing personal' in fingerprint.verdict({'area': None}, identity=True)


def test_real_raters_as_a_plain_formula_has_them(shared, tmp_path):
  root, stems = shared('cfos_wue1'), ('0001', '0004', '0006', '0007', '0015')
  folders = ['images', *(f'rater_{number}' for number in range(1, 6))]
  for folder in folders:
    (tmp_path / 'manual' / folder).mkdir(parents=True)
    for file in (root / folder).iterdir():
      if file.stem in stems:
        shutil.copy(file, tmp_path / 'manual' / folder)
  directory = prepare('folder', tmp_path / 'data', manual_dir=tmp_path / 'manual')
  found = fingerprint.load(directory)
  files = [[next((root / folder).glob(f'{stem}.*')) for folder in folders[1:]] for stem in stems]
  masks = np.array([[np.asarray(Image.open(file)) > 0 for file in row] for row in files])
  logs = np.log(masks.sum(axis=(2, 3)))
  within = logs - logs.mean(axis=1, keepdims=True)
  share = len(stems) * np.square(within.mean(axis=0)).sum() / np.square(within).sum()
  assert found['rater_effect']['area']['share'] == pytest.approx(share)
  assert share > 0.6
  dice = [
    2 * (one[i] & one[j]).sum() / (one[i].sum() + one[j].sum())
    for one in masks
    for i in range(5)
    for j in range(i)
  ]
  assert found['dice']['mean'] == pytest.approx(np.mean(dice))
  assert 'personalization makes sense' in found['personalization']
