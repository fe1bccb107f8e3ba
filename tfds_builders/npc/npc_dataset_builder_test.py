import nibabel
import numpy as np
import pytest
import scipy.ndimage

from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from tfds_builders import prepare
from tfds_builders.npc import dummy_data
from tfds_builders.npc.slices import resize


def build(tmp_path, **options):
  return Source(prepare('npc', tmp_path / 'data', manual_dir=tmp_path / 'manual', **options))


def by_name(source):
  return {line['name']: source[index] for index, line in enumerate(source.info.records)}


@pytest.mark.parametrize('training', ['slices', 'volumes'])
def test_slices_of_a_patient_share_the_case(tmp_path, training):
  dummy_data.write_challenge(tmp_path / 'manual')
  source = build(tmp_path, training=training)
  records = by_name(source)
  assert sorted(records) == [
    *(f'training/Sample_{patient}/slice-000{k}' for patient in range(2) for k in range(3)),
    *(f'validation/Sample_0/slice-000{k}' for k in range(2)),
  ]
  assert set(source.info.cases) == {'training/Sample_0', 'training/Sample_1', 'validation/Sample_0'}
  image, masks = dummy_data.volume(1)
  record = records['training/Sample_1/slice-0001']
  np.testing.assert_array_equal(record['image'], np.moveaxis(image[:, 1], 0, 2))
  np.testing.assert_array_equal(record['masks'], masks[:, 1])
  assert record['annotated'].all()
  assert not records['training/Sample_1/slice-0002']['masks'].any()


def test_raters_are_persons_and_the_geometry_is_unknown(tmp_path):
  dummy_data.write_challenge(tmp_path / 'manual')
  source = build(tmp_path)
  assert source.raters == ['a1', 'a2', 'a3', 'a4']
  assert source.rater_order == 'identity'
  assert np.isnan(source[0]['spacing']).all()
  assert 'identity geometry' in (source.directory / 'metadata.json').read_text()


def test_folders_of_nifti_files(tmp_path):
  dummy_data.write_nifti(tmp_path / 'manual')
  source = build(tmp_path)
  assert set(source.info.cases) == {'training/Sample_0', 'training/Sample_1'}
  record = by_name(source)['training/Sample_1/slice-0000']
  assert record['annotated'].tolist() == [True, True, False, True]
  np.testing.assert_array_equal(record['masks'][3], dummy_data.volume(1)[1][3, 0])
  np.testing.assert_allclose(record['spacing'], (0.5, 0.7))
  image = dummy_data.volume(1)[0]
  low, high = np.percentile(image, [0.5, 99.5], axis=(1, 2, 3))
  expected = np.clip((np.moveaxis(image[:, 0], 0, 2) - low) / (high - low), 0, 1)
  np.testing.assert_allclose(record['image'], expected, atol=2e-5)


@pytest.mark.parametrize('preset', ['published', 'linear'])
def test_sizes(tmp_path, preset):
  dummy_data.write_challenge(tmp_path / 'manual')
  source = build(tmp_path, preset=preset, size=32)
  assert source[0]['image'].shape == (32, 32, 3)
  assert source[0]['masks'].shape == (4, 32, 32)
  assert 0 <= source[0]['image'].min() <= source[0]['image'].max() <= 1


def test_the_published_resize_takes_nearest_pixels_with_aligned_corners():
  image, masks = dummy_data.volume(0)
  image, masks = np.moveaxis(image[:, 0], 0, 2), masks[:, 0]
  pixels, drawn = resize(image, masks, 'published', 128)
  for channel in range(3):
    zoomed = scipy.ndimage.zoom(image[..., channel], (128 / 20, 128 / 16), order=0)
    np.testing.assert_array_equal(pixels[..., channel], zoomed)
  np.testing.assert_array_equal(drawn[2], scipy.ndimage.zoom(masks[2], (128 / 20, 8), order=0))
  assert resize(image, masks, 'stored', None)[0] is image


def test_the_linear_resize_keeps_the_mean_and_the_place():
  ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32)[:, None, None], (1, 48, 1))
  half = np.zeros((1, 64, 48), np.uint8)
  half[:, :32] = 1
  pixels, drawn = resize(ramp, half, 'linear', 16)
  np.testing.assert_allclose(pixels[:, 3, 0], np.linspace(1.5, 61.5, 16) / 63, atol=0.02)
  assert drawn[0, :8].all()
  assert not drawn[0, 8:].any()


def test_intensities_beyond_one_are_refused_or_scaled(tmp_path):
  image, masks = dummy_data.volume(0)
  dummy_data.write_hdf5(tmp_path / 'manual' / 'validation' / 'a.h5', image * 7, masks)
  with pytest.raises(DataError, match=r'a\.h5 has intensities from .* set intensity="percentiles"'):
    build(tmp_path)
  assert build(tmp_path, intensity='percentiles')[0]['image'].max() <= 1


@pytest.mark.parametrize(
  'options,message',
  [
    ({'preset': 'cubic'}, "preset is 'cubic', not one of stored, published, linear"),
    ({'size': 64}, 'size is 64'),
    ({'size': 3, 'preset': 'linear'}, 'size is 3'),
    ({'training': '3d'}, "training is '3d'"),
    ({'intensity': 'unit'}, "intensity is 'unit'"),
    ({'rater': 1}, 'has no option'),
  ],
)
def test_bad_options_are_refused(tmp_path, options, message):
  dummy_data.write_challenge(tmp_path / 'manual')
  with pytest.raises(DataError, match=message):
    build(tmp_path, **options)


def test_another_layout_says_what_was_looked_for(tmp_path):
  (tmp_path / 'manual' / 'images').mkdir(parents=True)
  with pytest.raises(DataError, match=r'was looked for in .*manual \(found: images\)'):
    build(tmp_path)


def replace(folder, name, array, affine=None):
  affine = np.diag([0.5, 0.7, 3.0, 1.0]) if affine is None else affine
  nibabel.save(nibabel.Nifti1Image(array, affine), folder / name)


def test_faults_of_nifti_folders(tmp_path):
  root = dummy_data.write_nifti(tmp_path / 'manual')
  folder = root / 'training' / 'Sample_0'
  mask = np.zeros((20, 16, 3), np.uint8)
  replace(folder, 'Sample_0_label_a1.nii.gz', mask, np.eye(4))
  with pytest.raises(DataError, match=r'label_a1\.nii\.gz and .*t1\.nii\.gz have other affine'):
    build(tmp_path)
  replace(folder, 'Sample_0_label_a1.nii.gz', mask[:-1])
  with pytest.raises(DataError, match=r'label_a1\.nii\.gz has shape .* but .*t1\.nii\.gz has'):
    build(tmp_path)
  replace(folder, 'label_a1.nii.gz', mask)
  with pytest.raises(DataError, match=r'are both label_a1; give every patient a folder'):
    build(tmp_path)
  for file in folder.glob('*label*'):
    file.unlink()
  with pytest.raises(DataError, match='lacks a mask'):
    build(tmp_path)
  (folder / 't2.nii.gz').unlink()
  with pytest.raises(DataError, match='lacks t2'):
    build(tmp_path)
