import numpy as np
import pydicom
import pytest

from experiments import dicom_seg
from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri.dummy_data import write_slice

pytestmark = pytest.mark.skipif(not dicom_seg.is_available(), reason='highdicom is not installed')


@pytest.fixture
def series(tmp_path):
  """Slices with the tags that every real CT has and the smaller test files leave out."""
  dates = dict.fromkeys(('StudyDate', 'SeriesDate', 'ContentDate', 'PatientBirthDate'), '20000101')
  more = {'StudyTime': '000000', 'PatientName': 'A', 'PatientSex': '', 'AccessionNumber': ''}
  more |= {'StudyID': '1', 'ReferringPhysicianName': '', 'FrameOfReferenceUID': '1.2.3'}
  more |= {'SliceThickness': 2.5, 'SeriesNumber': 1, **dates}
  paths = [tmp_path / f'{number}.dcm' for number in range(3)]
  for number, path in enumerate(paths):
    pixels = np.full((20, 24), 1000, np.int16)
    write_slice(path, pixels, z=2.5 * number, number=number, change=more)
  return paths


def test_segments_are_the_raters_masks_and_may_overlap(series, tmp_path):
  masks = np.zeros((3, 3, 20, 24), np.uint8)
  masks[0, 1, 4:9, 3:8] = 1
  masks[2, 0:2, 5:12, 4:9] = 1  # the second rater draws nothing
  names = ['anna', 'ben', 'carl']
  dicom_seg.write(tmp_path / 'seg.dcm', masks, names, series, method='pionono')
  import highdicom as hd

  seg = hd.seg.segread(tmp_path / 'seg.dcm')
  assert [seg.get_segment_description(n).segment_label for n in (1, 2)] == ['anna', 'carl']
  sources = [pydicom.dcmread(path).SOPInstanceUID for path in series]
  found = seg.get_pixels_by_source_instance(
    sources, segment_numbers=[1, 2], assert_missing_frames_are_empty=True
  )
  np.testing.assert_array_equal(np.moveaxis(found, -1, 0), masks[[0, 2]])
  assert seg.StudyInstanceUID == pydicom.dcmread(series[0]).StudyInstanceUID


def test_a_series_that_lacks_tags_is_refused(tmp_path):
  write_slice(tmp_path / 'a.dcm', np.zeros((20, 24), np.int16), z=0)
  masks = np.ones((1, 1, 20, 24), np.uint8)
  with pytest.raises(DataError, match=r'seg\.dcm cannot be made of this series'):
    dicom_seg.write(tmp_path / 'seg.dcm', masks, ['a'], [tmp_path / 'a.dcm'], method='x')


def test_nothing_drawn_writes_nothing(series, tmp_path):
  empty = np.zeros((2, 3, 20, 24), np.uint8)
  dicom_seg.write(tmp_path / 'seg.dcm', empty, ['a', 'b'], series, method='x')
  assert not (tmp_path / 'seg.dcm').exists()
