import json
import shutil

import numpy as np
import pytest

from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from tfds_builders import prepare
from tfds_builders.qubiq import dummy_data
from tfds_builders.qubiq.dummy_data import mask, save
from tfds_builders.qubiq.layout import TASKS


@pytest.fixture(scope='session')
def challenge(tmp_path_factory):
  return dummy_data.write_challenge(tmp_path_factory.mktemp('challenge') / 'manual')


@pytest.fixture
def growth(challenge, tmp_path):
  """A copy of one data set, to be damaged."""
  shutil.copytree(challenge / 'brain-growth', tmp_path / 'manual' / 'brain-growth')
  return tmp_path / 'manual'


def build(tmp_path, manual, **options):
  return Source(prepare('qubiq', tmp_path / 'data', manual_dir=manual, **options))


@pytest.mark.parametrize('task', [name for name in TASKS if not name.startswith('pancrea')])
def test_every_task(tmp_path, challenge, task):
  source = build(tmp_path, challenge, task=task)
  wanted = TASKS[task]
  assert source.raters == [f'slot {number + 1}' for number in range(wanted.raters)]
  assert source.rater_order == 'slot'
  assert sorted(source.info.cases) == ['training/case01', 'training/case02', 'validation/case03']
  for index, line in enumerate(source.info.records):
    record = source[index]
    assert record['image'].shape == (16, 20, wanted.channels)
    assert record['image'].dtype == np.uint16
    np.testing.assert_allclose(record['spacing'], (0.5, 0.7))
    absent = wanted.folder == 'prostate' and line['case'] == 'training/case02'
    assert record['annotated'].sum() == wanted.raters - absent
    np.testing.assert_array_equal(record['masks'][1], mask(wanted.number, 2))


def test_channels_are_scaled_each_by_its_percentiles(tmp_path, challenge):
  import nibabel

  source = build(tmp_path, challenge, task='brain-tumor-1')
  index = source.info.cases.index('training/case01')
  file = challenge / 'brain-tumor' / 'Training' / 'case01' / 'image.nii.gz'
  stored = np.asarray(nibabel.load(file).dataobj)
  low, high = np.percentile(stored, [0.5, 99.5], axis=(0, 1))
  expected = np.clip((stored - low) / (high - low), 0, 1)
  np.testing.assert_allclose(source[index]['image'] / 65535, expected, atol=2e-5)


@pytest.mark.parametrize('deep', [False, True])
def test_folders_of_the_archives(tmp_path, challenge, deep):
  root = tmp_path / 'manual'
  inner = 'Brain_Growth' if deep else ''
  for part, number in (('training_data_v3_QC', '01'), ('validation_data_qubiq2021_QC', '03')):
    source = 'Training' if number == '01' else 'Validation'
    shutil.copytree(
      challenge / 'brain-growth' / source / f'case{number}',
      root / part / (inner or 'brain-growth') / source / f'case{number}',
    )
  assert set(build(tmp_path, root).info.cases) == {'training/case01', 'validation/case03'}


def test_volumes_and_scans_of_one_patient(tmp_path):
  shown = np.arange(3 * 16 * 20, dtype=np.float32).reshape(3, 16, 20)
  affine = np.diag([5, 0.5, 0.7, 1])
  for scan in (1, 2):
    folder = tmp_path / 'manual' / 'training_data_v3_QC' / 'pancreas' / f'case7-{scan}'
    save(folder / 'image.nii.gz', shown, affine)
    for rater in (1, 2):
      drawn = np.zeros(shown.shape, np.uint8)
      drawn[1] = mask(1, rater)
      save(folder / f'task01_seg{rater:02d}.nii.gz', drawn, affine)
  source = build(tmp_path, tmp_path / 'manual', task='pancreas')
  assert len(source) == 6
  assert set(source.info.cases) == {'training/case7'}
  record = source[[line['name'][-4:] for line in source.info.records].index('0001')]
  np.testing.assert_array_equal(record['masks'][1], mask(1, 2))
  low, high = np.percentile(shown, [0.5, 99.5])
  np.testing.assert_allclose(
    record['image'][..., 0] / 65535, (shown[1] - low) / (high - low), atol=2e-5
  )
  np.testing.assert_allclose(record['spacing'], (0.5, 0.7))


def test_other_numbers_than_published_are_told(tmp_path, growth, caplog):
  for file in (growth / 'brain-growth' / 'Training' / 'case01').glob('task*'):
    file.unlink()
  source = build(tmp_path, growth)
  assert 'brain-growth: 2 cases of 7 raters found; published are 39 of 7' in caplog.text
  counts = json.loads((source.directory / 'counts.json').read_text())
  assert counts == {'cases': 2, 'cases without a mask, left out': 1, 'records': 2}


def case(growth):
  return growth / 'brain-growth' / 'Training' / 'case01'


def test_other_geometry(tmp_path, growth):
  save(case(growth) / 'task01_seg02.nii.gz', mask(1, 2), np.eye(4))
  with pytest.raises(DataError, match=r'seg02\.nii\.gz and .*image\.nii\.gz have other affine'):
    build(tmp_path, growth)
  assert len(build(tmp_path, growth, geometry='shape')) == 3


@pytest.mark.parametrize(
  'name,array,message',
  [
    ('task01_seg02', np.zeros((16, 19)), r'seg02\.nii\.gz has shape \(16, 19, 1\) but .*image'),
    ('task01_seg02', np.full((16, 20), 0.3), r'seg02\.nii\.gz has the values 0.3, which are no'),
    ('task01_seg02', np.arange(320.0).reshape(16, 20), r'seg02\.nii\.gz has the values 0, 1, 2'),
    ('image', np.zeros((16, 20, 2, 2)), r'image\.nii\.gz has shape \(16, 20, 2, 2\); 1 channels'),
    ('image', np.full((16, 20), np.nan), r'image\.nii\.gz holds values that are not finite'),
    ('task1_seg2', np.zeros((16, 20)), r'task01_seg02\.nii\.gz and .*task1_seg2.* are one rater'),
    ('image', None, r'case01 holds 0 files image\.nii\.gz'),
  ],
)
def test_faults(tmp_path, growth, name, array, message):
  if array is None:
    (case(growth) / f'{name}.nii.gz').unlink()
  else:
    save(case(growth) / f'{name}.nii.gz', array)
  with pytest.raises(DataError, match=message):
    build(tmp_path, growth)


def test_a_case_twice_is_refused(tmp_path, growth):
  shutil.copytree(case(growth), growth / 'copy' / 'brain-growth' / 'Training' / 'case01')
  with pytest.raises(DataError, match=r'are both training/case01; keep one'):
    build(tmp_path, growth)


@pytest.mark.parametrize(
  'options,message',
  [
    ({'task': 'liver'}, "no task 'liver'; there are brain-growth, brain-tumor-1"),
    ({'task': 'kidney'}, 'data set kidney, task 1, was looked for'),
    ({'geometry': 'none'}, "geometry is 'none'"),
  ],
)
def test_bad_options_are_refused(tmp_path, growth, options, message):
  with pytest.raises(DataError, match=message):
    build(tmp_path, growth, **options)
