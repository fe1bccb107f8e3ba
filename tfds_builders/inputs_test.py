import itertools

import nibabel
import numpy as np
import pytest
from PIL import Image

from multirater_jax.data.errors import DataError
from tfds_builders import inputs
from tfds_builders.lidc_idri.dummy_data import write_slice

FOLDER = {'name': 'folder', 'options': {'window': None}}
LIDC = {'name': 'lidc_idri', 'options': {'preset': 'kohl', 'window': None, 'bits': 8}}


def only(path, data=FOLDER):
  (found,) = inputs.find(path, data)
  return found


def write_series(folder, *, count=4, series='7', thickness=2.5):
  """Slices of -1000, 0, 400, 1000 HU in a folder, under names that say nothing of their order."""
  for number, value in zip(range(count), itertools.cycle((-1000, 0, 400, 1000)), strict=False):
    pixels = np.full((20, 24), value + 1024, np.int16)
    z = 50 + thickness * number
    name = f'{(number * 7) % 5}-{series}.dcm'
    write_slice(folder / name, pixels, z=z, series=series, number=number)


def test_a_series_is_ordered_windowed_and_placed(tmp_path):
  write_series(tmp_path / 'ct')
  found = only(tmp_path / 'ct', LIDC)
  assert found.name == 'ct'
  scan = found.read()
  assert scan.planes.shape == (4, 20, 24, 1) and scan.planes.dtype == np.uint8
  assert scan.planes[:, 0, 0, 0].tolist() == [0, 182, 255, 255]  # -1000 to 400 HU
  assert (scan.spacing, scan.thickness) == ((0.7, 0.7), 2.5)
  assert len(scan.slices) == 4 and len(set(scan.slices)) == 4
  # The first voxel lies at x, y, z = -100, -100, 50 of DICOM, whose x and y point the other way.
  np.testing.assert_allclose(scan.nifti.affine @ (0, 0, 0, 1), (100, 100, 50, 1))
  np.testing.assert_allclose(scan.nifti.affine @ (2, 0, 3, 1), (100, 98.6, 57.5, 1))
  np.testing.assert_allclose(scan.nifti.affine @ (0, 2, 0, 1), (98.6, 100, 50, 1))


def test_two_series_are_two_inputs_and_a_gap_is_told(tmp_path):
  write_series(tmp_path / 'ct', series='7', count=5)
  write_series(tmp_path / 'ct', series='8', count=5)
  (tmp_path / 'ct' / '2-8.dcm').unlink()  # slice 1 of 0 to 3 is at (1 * 7) % 5
  found = inputs.find(tmp_path / 'ct', LIDC)
  assert len({one.name for one in found}) == 2
  notes = [one.read().notes for one in found]
  assert sorted(notes) == [(), ('Slices are missing in 1 places.',)]


def test_a_broken_slice_is_an_input_that_cannot_be_read(tmp_path):
  write_series(tmp_path / 'ct')
  (tmp_path / 'ct' / 'bad.dcm').write_bytes(b'\0' * 128 + b'DICM' + b'rubbish')
  broken, series = inputs.find(tmp_path / 'ct', LIDC)
  with pytest.raises(DataError, match=r'bad\.dcm'):
    broken.read()
  assert len(series.read().planes) == 4


def test_volumes_are_scaled_as_their_data_set_does(tmp_path):
  voxels = np.linspace(-1000, 1000, 4 * 5 * 6).reshape(4, 5, 6).astype(np.float32)
  nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2, 3, 4, 1])), tmp_path / 'v.nii')
  window = {'name': 'folder', 'options': {'window': [0, 500]}}
  scan = only(tmp_path / 'v.nii', window).read()
  assert scan.planes.shape == (6, 4, 5, 1) and scan.planes.dtype == np.uint16
  expected = np.round(np.clip(voxels / 500, 0, 1) * 65535)
  np.testing.assert_array_equal(np.moveaxis(scan.planes[..., 0], 0, 2), expected)
  assert (scan.spacing, scan.thickness) == ((2, 3), 4)
  gray = only(tmp_path / 'v.nii', LIDC).read().planes
  assert gray.dtype == np.uint8 and gray[..., 0].max() == 255


def test_a_fourth_axis_holds_channels(tmp_path):
  voxels = np.random.default_rng(0).random((8, 9, 3, 2), np.float32)
  nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / 'v.nii.gz')
  assert only(tmp_path / 'v.nii.gz').read().planes.shape == (3, 8, 9, 2)
  stored = only(tmp_path / 'v.nii.gz', {'name': 'npc', 'options': {'intensity': None}}).read()
  np.testing.assert_array_equal(stored.planes, np.moveaxis(voxels, 2, 0))


def test_pictures_stay_as_they_are_stored(tmp_path):
  pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
  (tmp_path / 'sub').mkdir()
  Image.fromarray(pixels).save(tmp_path / 'sub' / 'a.png')
  found = only(tmp_path)
  assert found.name == 'sub/a'
  np.testing.assert_array_equal(found.read().planes, pixels[None, ..., None])


def test_two_inputs_of_one_name_are_refused(tmp_path):
  for suffix in ('png', 'tif'):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f'a.{suffix}')
  with pytest.raises(DataError, match='two images called a'):
    inputs.find(tmp_path, FOLDER)


def test_an_image_named_as_a_folder_of_images_is_refused(tmp_path):
  (tmp_path / 'a').mkdir()
  for name in ('a.png', 'a/b.png'):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
  with pytest.raises(DataError, match='an image and a folder called a;'):
    inputs.find(tmp_path, FOLDER)
