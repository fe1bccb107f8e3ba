"""Damaged and hostile image files: one clear error that names the file, soon, in little memory."""

import contextlib
import gzip
import resource
import struct
import time
import zlib

import nibabel
import numpy as np
import pytest
from PIL import Image

from multirater_jax.data.errors import DataError
from tfds_builders import images


@contextlib.contextmanager
def refused(message, *, seconds=1, megabytes=50):
  before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
  with pytest.raises(DataError, match=message):
    yield
  assert time.process_time() - start < seconds
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes * 1024


def volume(path, array=None, **fields):
  image = nibabel.Nifti1Image(np.ones((4, 5, 3), np.int16) if array is None else array, np.eye(4))
  nibabel.save(image, path)
  if not fields:
    return path
  packed = path.name.endswith('.gz')
  data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
  header = nibabel.Nifti1Header(data[:348], check=False)
  for name, value in fields.items():
    header[name] = value
  data = header.binaryblock + data[348:]
  path.write_bytes(gzip.compress(data) if packed else data)
  return path


SUFFIXES = pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])


@SUFFIXES
def test_a_cut_volume(tmp_path, suffix):
  noise = np.random.default_rng(0).integers(0, 999, (30, 30, 9)).astype(np.int16)
  path = volume(tmp_path / f'a{suffix}', noise)
  whole = path.read_bytes()
  for length in (0, 3, 4, 200, 348, 352, 400, len(whole) // 2, len(whole) - 3):
    path.write_bytes(whole[:length])
    with refused(f'a{suffix}'):
      images.read_volume(path)


@SUFFIXES
@pytest.mark.parametrize('content', [b'garbage' * 99, b'\x1f\x8b' + b'garbage' * 99, b'\0' * 999])
def test_garbage(tmp_path, suffix, content):
  (tmp_path / f'a{suffix}').write_bytes(content)
  with refused(f'a{suffix}'):
    images.read_volume(tmp_path / f'a{suffix}')


@SUFFIXES
@pytest.mark.parametrize(
  'fields,message',
  [
    ({'dim': [3, 32000, 32000, 32000, 1, 1, 1, 1]}, 'more than the limit'),
    ({'dim': [3, 600, 600, 600, 1, 1, 1, 1]}, 'cannot hold the 432000000 bytes'),
    ({'dim': [7, 600, 600, 3, 1, 1, 1, 1], 'datatype': 64, 'bitpix': 64}, 'cannot hold'),
    ({'vox_offset': 1e9}, 'cut or damaged'),
    ({'vox_offset': np.nan}, 'cut or damaged'),
    ({'vox_offset': -1}, 'cut or damaged'),
    ({'dim': [0, 4, 5, 3, 1, 1, 1, 1]}, 'two or three axes'),
    ({'dim': [1, 60, 1, 1, 1, 1, 1, 1]}, 'two or three axes'),
    ({'dim': [3, 4, -5, 3, 1, 1, 1, 1]}, 'two or three axes'),
    ({'pixdim': [1, np.nan, 1, 1, 1, 1, 1, 1]}, r'the voxel sizes \[nan'),
    ({'pixdim': [1, 1, 1, np.inf, 1, 1, 1, 1]}, 'the voxel sizes'),
    ({'pixdim': [1, 0, 1, 1, 1, 1, 1, 1]}, 'the voxel sizes'),
    ({'srow_x': [1, 0, 0, np.nan]}, 'affine'),
    ({'datatype': 9999}, 'a.nii'),
    ({'datatype': 128, 'bitpix': 24}, 'scalar numbers'),
    ({'datatype': 32, 'bitpix': 64}, 'scalar numbers'),
  ],
)
def test_hostile_headers(tmp_path, suffix, fields, message):
  path = volume(tmp_path / f'a{suffix}', **fields)
  with refused(message):
    images.read_volume(path)


def test_a_bomb_in_gzip_is_read_no_further_than_its_header_says(tmp_path):
  path = volume(tmp_path / 'a.nii.gz')
  data = gzip.decompress(path.read_bytes())
  path.write_bytes(gzip.compress(data + bytes(2**26)))
  with refused('unpacks to more than the 120 bytes', megabytes=20):
    images.read_volume(path)


def test_a_changed_bit_in_gzip_is_found(tmp_path):
  noise = np.random.default_rng(0).integers(0, 999, (30, 30, 9)).astype(np.int16)
  path = volume(tmp_path / 'a.nii.gz', noise)
  data = bytearray(path.read_bytes())
  data[len(data) * 3 // 4] ^= 1
  path.write_bytes(data)
  with refused(r'Cannot read .*a\.nii\.gz'):
    images.read_volume(path)


def test_a_header_without_place_is_noted(tmp_path):
  assert images.read_volume(volume(tmp_path / 'a.nii')).oriented
  plain = images.read_volume(volume(tmp_path / 'b.nii', sform_code=0, qform_code=0))
  assert not plain.oriented
  assert plain.spacing == (1.0, 1.0)


@pytest.mark.parametrize('dtype', ['>i2', '<i8', '>f4', 'u1', '<f8'])
def test_number_types_and_byte_orders(tmp_path, dtype):
  array = np.arange(60).reshape(4, 5, 3).astype(dtype)
  header = nibabel.Nifti1Header(endianness='>' if dtype[0] == '>' else '<')
  header.set_data_dtype(array.dtype)
  header.set_data_shape(array.shape)
  nibabel.save(nibabel.Nifti1Image(array, np.eye(4), header, dtype=array.dtype), tmp_path / 'a.nii')
  np.testing.assert_array_equal(images.read_volume(tmp_path / 'a.nii').voxels, array)


def test_oblique_volumes_lie_as_stored(tmp_path):
  array = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
  turned = np.array([[0, -2, 0.3, 7], [0.5, 0, 0, 8], [0, 0.2, 3, 9], [0, 0, 0, 1]])
  nibabel.save(nibabel.Nifti1Image(array, turned), tmp_path / 'a.nii')
  result = images.read_volume(tmp_path / 'a.nii')
  np.testing.assert_array_equal(result.voxels, array)
  np.testing.assert_allclose(result.spacing, np.linalg.norm(turned[:, :2], axis=0), rtol=1e-6)


@pytest.mark.parametrize('shape', [(4, 5, 3, 2), (4, 5, 1, 1, 3)])
def test_more_axes_are_refused(tmp_path, shape):
  path = volume(tmp_path / 'a.nii', np.ones(shape, np.uint8))
  with refused('two or three axes'):
    images.read_volume(path)


@pytest.mark.parametrize(
  'values,message',
  [
    ([0.0, 0.5], 'no whole numbers'),
    ([0.0, np.nan], 'no whole numbers'),
    ([0, 1, 2], 'may hold 0 and one other'),
    ([0.0, np.inf], 'may hold 0 and one other'),
    ([1, 2], 'may hold 0 and one other'),
  ],
)
def test_masks_hold_classes(values, message):
  with refused(message):
    images.to_classes(np.array(values), 'a', 2)


def chunk(kind, data):
  return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def png(width, height, data=b'', *, extra=b''):
  header = chunk(b'IHDR', struct.pack('>2I5B', width, height, 1, 0, 0, 0, 0))
  body = chunk(b'IDAT', zlib.compress(data))
  return b'\x89PNG\r\n\x1a\n' + header + extra + body + chunk(b'IEND', b'')


@pytest.mark.parametrize('side', [10_000, 20_000, 2**31 - 1])
@pytest.mark.parametrize('function', [images.read_pixels, images.read_image])
def test_a_huge_png(tmp_path, side, function):
  (tmp_path / 'a.png').write_bytes(png(side, side))
  with refused('a.png'):
    function(tmp_path / 'a.png', tmp_path / 'a.png')


def test_a_png_that_unpacks_to_more_than_its_size(tmp_path):
  (tmp_path / 'a.png').write_bytes(png(8, 8, bytes(2**27)))
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with contextlib.suppress(DataError):
    images.read_pixels(tmp_path / 'a.png', 'a')
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


@pytest.mark.parametrize('kind', [b'zTXt', b'iCCP'])
def test_a_png_with_a_bomb_in_its_text(tmp_path, kind):
  bomb = chunk(kind, b'a\0\0' + zlib.compress(bytes(2**27)))
  (tmp_path / 'a.png').write_bytes(png(8, 8, bytes(16), extra=bomb))
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with contextlib.suppress(DataError):
    images.read_pixels(tmp_path / 'a.png', 'a')
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def test_other_formats_under_a_known_name_are_not_opened(tmp_path):
  Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / 'a.eps')
  (tmp_path / 'a.eps').rename(tmp_path / 'a.png')
  with refused('cannot identify image file'):
    images.read_pixels(tmp_path / 'a.png', tmp_path / 'a.png')


def test_lossy_masks_are_cut_at_half(tmp_path):
  drawn = np.array([[0, 127], [128, 255]], np.uint8)
  Image.fromarray(drawn).save(tmp_path / 'a.png')
  classes, changed = images.read_lossy_mask(tmp_path / 'a.png', 'a')
  assert classes.tolist() == [[0, 0], [1, 1]]
  assert changed
  Image.fromarray(drawn // 128 * 255).save(tmp_path / 'a.png')
  assert not images.read_lossy_mask(tmp_path / 'a.png', 'a')[1]
  Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / 'b.png')
  with refused('no 8-bit image'):
    images.read_lossy_mask(tmp_path / 'b.png', 'b')
