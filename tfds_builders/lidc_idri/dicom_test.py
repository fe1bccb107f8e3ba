import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
  DeflatedExplicitVRLittleEndian,
  ExplicitVRBigEndian,
  ExplicitVRLittleEndian,
  JPEG2000Lossless,
)

from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri import dummy_data
from tfds_builders.lidc_idri.dicom import geometry, read_header, read_hounsfield
from tfds_builders.lidc_idri.download import read_download
from tfds_builders.lidc_idri.series import find_slice, stack


@pytest.fixture
def write(tmp_path):
  """Writes one slice with changed tags; returns its path."""

  def write_one(name='a.dcm', *, z=1.0, number=0, **change):
    path = tmp_path / name
    pixels = np.arange(32 * 32, dtype=np.int16).reshape(32, 32)
    dummy_data.write_slice(path, pixels, z=z, number=number, change=change)
    return path

  return write_one


def _stack(*paths):
  return stack(map(read_header, paths))


def test_hounsfield_units(write):
  header = read_header(write(RescaleSlope=2, RescaleIntercept=-1000.5))
  pixels = read_hounsfield(header)
  assert pixels.dtype == np.float32
  np.testing.assert_array_equal(pixels, np.arange(1024).reshape(32, 32) * 2 - 1000.5)


def test_big_endian(write):
  path = write()
  data = pydicom.dcmread(path)
  data.PixelData = data.pixel_array.astype('>i2').tobytes()
  data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
  pydicom.dcmwrite(path, data, little_endian=False, implicit_vr=False)
  assert read_hounsfield(read_header(path))[0, 5] == 5 - 1024


# D1: not DICOM


@pytest.mark.parametrize('content', [b'', b'text', b'\0' * 128 + b'DICX', b'\x89PNG' * 100])
def test_not_dicom(download, content, caplog):
  path = download / 'b.dcm'
  path.write_bytes(content)
  with pytest.raises(DataError, match=r'b\.dcm is no DICOM file'):
    read_header(path)
  found = read_download([download])
  assert found.counts['files skipped: no DICOM'] == 1
  assert sum(map(len, found.series.values())) == 6
  assert 'b.dcm is no DICOM file and is passed over' in caplog.text


# D2, D3: cut off


def test_truncated(write):
  path = write()
  content = path.read_bytes()
  for end in (len(content) // 2, len(content) - 2):
    path.write_bytes(content[:end])
    with pytest.raises(DataError, match=r'a\.dcm is truncated'):
      read_hounsfield(read_header(path))


def test_cut_header(write):
  path = write()
  content = path.read_bytes()
  for end in range(133, 900, 41):
    path.write_bytes(content[:end])
    with pytest.raises(DataError, match=r'a\.dcm'):
      read_hounsfield(read_header(path))


@pytest.mark.parametrize('end', [133, 200, 400, 460])
def test_files_cut_off_are_never_passed_over_silently(download, end, caplog):
  path = sorted(download.rglob('*.dcm'))[1]
  path.write_bytes(path.read_bytes()[:end])
  with pytest.raises(DataError, match=path.name):
    read_download([download])
  found = read_download([download], strict=False)
  assert found.counts['files skipped: broken'] == 1
  assert path.name in caplog.text


def test_an_index_of_a_disk_is_another_file_not_a_broken_one(download):
  meta = pydicom.dataset.FileMetaDataset()
  meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
  meta.MediaStorageSOPInstanceUID = '1.2.3'
  meta.TransferSyntaxUID = ExplicitVRLittleEndian
  index = pydicom.Dataset()
  index.file_meta, index.FileSetID = meta, 'ARCHIVE'
  pydicom.dcmwrite(download / 'DICOMDIR', index, enforce_file_format=True)
  assert read_download([download]).counts['files of other modalities'] == 1


def test_pixel_bytes_short(write):
  with pytest.raises(DataError, match='is truncated'):
    read_hounsfield(read_header(write(PixelData=b'\0' * 2000)))


def test_pixels_missing(write):
  with pytest.raises(DataError, match='is truncated'):
    read_hounsfield(read_header(write(PixelData=None)))


# D4, D5: size contradicts the pixels


def test_absurd_size(write, bounded):
  path = write(Rows=65535, Columns=65535)
  with bounded(seconds=1, megabytes=50), pytest.raises(DataError, match='65535 x 65535'):
    read_hounsfield(read_header(path))


def test_rows_too_small(write):
  with pytest.raises(DataError, match='contradicts itself'):
    read_hounsfield(read_header(write(Rows=16)))


# D6, D7: missing and absurd geometry


@pytest.mark.parametrize(
  'tag',
  [
    'Rows', 'PixelSpacing', 'ImagePositionPatient', 'ImageOrientationPatient', 'RescaleSlope',
    'RescaleIntercept',
  ],
)  # fmt: skip
def test_missing_tag(write, tag):
  with pytest.raises(DataError, match=rf'a\.dcm: {tag} is missing'):
    geometry(read_header(write(**{tag: None})))


def test_rescale_defaults_outside_ct(write):
  size = geometry(read_header(write(Modality='DX', RescaleSlope=None, RescaleIntercept=None)))
  assert (size.slope, size.intercept) == (1.0, 0.0)


@pytest.mark.parametrize('value', ['nan', 'inf', '1e400', 'x'])
def test_position_not_finite(write, value):
  path = write(ImagePositionPatient=[7, 7, 123456])
  content = path.read_bytes()
  assert content.count(b'123456') == 1
  path.write_bytes(content.replace(b'123456', value.ljust(6).encode()))
  with pytest.raises(DataError, match=r'a\.dcm'):
    geometry(read_header(path))


@pytest.mark.parametrize('spacing', [[0, 0.7], [-1, 0.7], [1e9, 0.7], [0.7]])
def test_absurd_spacing(write, spacing):
  with pytest.raises(DataError, match='PixelSpacing'):
    geometry(read_header(write(PixelSpacing=spacing)))


# D8: bombs


def test_deflate_bomb(write, bounded):
  path = write()
  data = pydicom.dcmread(path)
  data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
  del data.PixelData
  pydicom.dcmwrite(path, data)
  content = path.read_bytes()
  start = content.index(b'1.2.840.10008.1.2.1.99') + 22
  bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
  path.write_bytes(
    content[:start] + b''.join(map(bomb.compress, [bytes(1_000_000)] * 200)) + bomb.flush()
  )
  with bounded(seconds=1, megabytes=50), pytest.raises(DataError, match='deflated'):
    read_header(path)


def test_file_too_large(write, monkeypatch):
  monkeypatch.setattr('tfds_builders.lidc_idri.dicom.MAX_BYTES', 1000)
  with pytest.raises(DataError, match='over 1000 bytes'):
    read_header(write())


# D9: what no reader should guess


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'PhotometricInterpretation': 'MONOCHROME1'}, 'MONOCHROME1'),
    ({'NumberOfFrames': 3}, '3 frames'),
    ({'SamplesPerPixel': 3}, '3 samples'),
    ({'GantryDetectorTilt': 12}, 'gantry tilt of 12'),
    ({'ImageOrientationPatient': [1, 0, 0, 0, 0, -1]}, 'not axial'),
    ({'ImageOrientationPatient': [1, 0, 0, 0, 0.98, 0.17]}, 'not axial'),
  ],
)
def test_refused(write, change, message):
  with pytest.raises(DataError, match=message) as caught:
    geometry(read_header(write(**change)))
  assert 'a.dcm' in str(caught.value)


def test_compressed(write):
  path = write()
  data = pydicom.dcmread(path)
  data.file_meta.TransferSyntaxUID = JPEG2000Lossless
  data.PixelData = pydicom.encaps.encapsulate([b'1234'])
  data['PixelData'].is_undefined_length = True
  pydicom.dcmwrite(path, data)
  with pytest.raises(DataError, match='JPEG 2000'):
    geometry(read_header(path))


def test_order_comes_from_positions(write):
  names = ['c.dcm', 'a.dcm', 'b.dcm']
  series = _stack(*(write(name, z=z, number=9 - z) for z, name in enumerate(names)))
  assert [item.header.path.name for item in series.slices] == names
  assert series.thickness == 1.0


def test_two_files_at_one_position(write):
  series = _stack(write('a.dcm', number=5), write('b.dcm', number=2), write('c.dcm', z=2, number=1))
  assert [item.header.path.name for item in series.slices] == ['b.dcm', 'c.dcm']
  assert series.duplicates == 1


def test_missing_slices_are_counted(write):
  series = _stack(*(write(f'{z}.dcm', z=z, number=z) for z in (0, 1, 2, 5, 6)))
  assert series.gaps == 1
  assert series.thickness == 1.0


def test_two_series_in_one_folder_are_told_apart(tmp_path):
  for series in ('7', '8'):
    for number in range(3):
      path = tmp_path / f'{number}-{series}'
      dummy_data.write_slice(
        path, np.zeros((8, 8), np.int16), z=number, series=series, number=number
      )
  dummy_data.write_slice(
    tmp_path / 'x', np.zeros((8, 8), np.int16), z=0, series='9', change={'Modality': 'DX'}
  )
  found = read_download([tmp_path])
  assert sorted(map(len, found.series.values())) == [3, 3]
  assert found.counts['files of other modalities'] == 1


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'PixelSpacing': [0.6, 0.7]}, 'a series has one'),
    ({'Rows': 16}, 'others'),
    ({'PatientID': 'other'}, 'two patients'),
    ({'PatientID': ''}, 'names no patient'),
  ],
)
def test_slices_of_a_series_are_alike(write, change, message):
  with pytest.raises(DataError, match=message) as caught:
    _stack(write('a.dcm'), write('b.dcm', z=2, **change))
  assert 'b.dcm' in str(caught.value)


def test_find_slice(write):
  series = _stack(*(write(f'{z}.dcm', z=2 * z, number=z) for z in range(4)))
  assert find_slice(series, 99.0, dummy_data.slice_uid('7', 2)) == 2
  assert find_slice(series, 4.9, 'unknown') == 2
  assert find_slice(series, 7.0, '') == 3
  assert find_slice(series, 7.1, '') is None
