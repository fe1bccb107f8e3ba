"""The prepared phantom: what is on disk is what the generator draws, under options and names."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from multirater_jax.data import phantom
from multirater_jax.data.errors import DataError
from tfds_builders import prepare, read_info, record

SMALL = {'size': 32, 'num_images': 12, 'num_raters': 3, 'seed': 5}


def read(folder):
  source = tfds.builder_from_directory(folder).as_data_source(record.SPLIT)
  return [source[index] for index in range(len(source))]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return prepare('phantom', tmp_path_factory.mktemp('data'), **SMALL)


def test_records_are_the_scenes_of_their_names(folder):
  styles = phantom.make_styles(3)
  records = read(folder)
  for one in records:
    scene = phantom.scene(phantom.scene_seed(one['name'].decode()), 32)
    masks, _ = phantom.annotate_all(scene.nodule, scene.seed, styles)
    np.testing.assert_array_equal(one['image'], scene.image[..., None])
    np.testing.assert_array_equal(one['masks'], masks)
    assert one['annotated'].all()
    np.testing.assert_allclose(one['spacing'], 1.4)
  seeds = {phantom.scene_seed(one['name'].decode()) for one in records}
  assert seeds == set(range(5_000_000, 5_000_012))


def test_info_names_raters_and_options(folder):
  info = read_info(folder)
  assert info.raters == ['style 1', 'style 2', 'style 3'] and info.rater_identity
  assert info.num_classes == 2 and len(set(info.cases)) == 12
  metadata = tfds.builder_from_directory(folder).info.metadata
  assert {name: metadata['options'][name] for name in SMALL} == SMALL


def test_the_same_options_give_the_same_set_and_others_another(folder, tmp_path):
  assert read_info(prepare('phantom', tmp_path, **SMALL)).hash == read_info(folder).hash
  other = prepare('phantom', tmp_path, **SMALL | {'seed': 6})
  assert other.parent != folder.parent and read_info(other).hash != read_info(folder).hash


def test_cases_of_several_images_with_missing_raters(tmp_path):
  folder = prepare('phantom', tmp_path, **SMALL, images_per_case=5, missing=0.5)
  records = read(folder)
  cases = {one['name'].decode()[-2:]: one['case'].decode() for one in records}
  assert cases['00'] == cases['04'] != cases['05'] and len(set(cases.values())) == 3
  annotated = np.stack([one['annotated'] for one in records])
  assert annotated.any(1).all() and not annotated.all()
  assert not any(one['masks'][~one['annotated']].any() for one in records)


@pytest.mark.parametrize(
  'options', [{'size': 8}, {'num_raters': 0}, {'num_images': 0}, {'missing': 1.5}, {'seed': -1}]
)
def test_bad_options_are_named(tmp_path, options):
  with pytest.raises(DataError, match=f'phantom: {next(iter(options))} is'):
    prepare('phantom', tmp_path, **options)
