"""The table and the published layouts."""

import json

import numpy as np
import pytest
from PIL import Image

from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from tfds_builders import prepare
from tfds_builders.folder import dummy_data
from tfds_builders.folder.dummy_data import mask, save, shown


def build(tmp_path, **options):
  return Source(prepare('folder', tmp_path / 'data', manual_dir=tmp_path / 'manual', **options))


def lines(source):
  return {line['name']: (line['case'], line['areas']) for line in source.info.records}


def test_a_manifest_names_files_cases_and_raters(tmp_path):
  dummy_data.write_manifest(tmp_path / 'manual')
  source = build(tmp_path)
  assert lines(source) == {
    'scans/0': ('p1', [24, 36]),
    'scans/1': ('p1', [24, None]),
    'scans/2': ('p2', [24, 36]),
  }
  assert source.raters == ['rater 1', 'anna']
  assert source.rater_order == 'identity'
  assert build(tmp_path, rater_identity=False).rater_order == 'slot'


def test_a_manifest_without_cases_takes_the_pattern(tmp_path):
  dummy_data.write_folders(tmp_path / 'manual')
  rows = [['image', 'rater_1'], ['images/a.png', ' rater_1/a.png '], ['images/b.png', '']]
  dummy_data.write_table(tmp_path / 'manual', rows)
  assert lines(build(tmp_path)) == {'images/a': ('images/a', [24])}
  assert lines(build(tmp_path, case_pattern='s/(.)')) == {'images/a': ('a', [24])}
  assert len(lines(build(tmp_path, layout='folders'))) == 2


def test_a_changed_table_makes_another_set(tmp_path):
  root = dummy_data.write_manifest(tmp_path / 'manual')
  first = build(tmp_path).directory
  text = (root / 'manifest.csv').read_text()
  (root / 'manifest.csv').write_text(text.replace('p2', 'p3'))
  assert build(tmp_path).directory != first


@pytest.mark.parametrize(
  'text,message',
  [
    (b'', 'is empty'),
    (b'\n ,\n', 'is empty'),
    (b'image,rater_1\n', 'no line with a mask'),
    (b'image;rater_1\nimages/a.png;rater_1/a.png\n', "columns 'image;rater_1'"),
    (b'picture,rater_1\n', "columns 'picture', 'rater_1'"),
    (b'image,rater_1,rater1\n', "'rater1'"),
    (b'image,rater_1,rater_1\n', 'columns'),
    (b'image,rater_\n', 'columns'),
    (b'image,rater_1\nimages/a.png\n', 'line 2 has 1 cells for 2 columns'),
    (b'image,rater_1\nimages/q.png,\n', 'line 2: there is no file .*q.png'),
    (b'image,rater_1\n' + 999 * b'a' + b'.png,\n', 'line 2: File name too long'),
    (b'image,rater_1\nimages/a.png,../x.png\n', r"line 2: '\.\./x\.png' leads out of the folder"),
    (b'image,rater_1\n/etc/hostname.png,\n', 'leads out of the folder'),
    (b'image,rater_1\nimages/a.npy,\n', "'images/a.npy' is none of .png"),
    (b'image,rater_1\n,rater_1/a.png\n', "'' is none of"),
    (b'image,case,rater_1\nimages/a.png, ,rater_1/a.png\n', 'line 2 has no case'),
    (b'image,rater_1\nimages/a.png,rater_1/a.png\nimages/a.png,rater_1/b.png\n', 'again'),
    (b'image,rater_1\n"images/a.png\n', 'line 2: unexpected end'),
    (b'image,rater_1\n' + b'a' * 140000, 'field larger than field limit'),
    (b'image,rater_1\n\x00\n', 'no text file'),
    (b'\xff\xfe\x00', 'Cannot read .*manifest.csv'),
  ],
)
def test_a_bad_manifest_is_refused_with_its_line(tmp_path, text, message):
  root = dummy_data.write_folders(tmp_path / 'manual')
  (root / 'manifest.csv').write_bytes(text)
  with pytest.raises(DataError, match=message):
    build(tmp_path)


def test_a_table_of_excel_has_a_byte_order_mark(tmp_path):
  root = dummy_data.write_folders(tmp_path / 'manual')
  table = '\ufeffimage,rater_1\r\nimages/a.png,rater_1/a.png\r\n'
  (root / 'manifest.csv').write_text(table, encoding='utf-8')
  assert len(lines(build(tmp_path))) == 1


@pytest.mark.parametrize('first', [0, 1])
def test_released_crops_of_the_hierarchical_model(tmp_path, first):
  dummy_data.write_hpunet(tmp_path / 'manual', first)
  source = build(tmp_path, layout='hpunet')
  areas = [54, 36, 18, 0]
  assert lines(source) == {
    'train/LIDC-IDRI-0001/z-1.5_c0': ('train/LIDC-IDRI-0001', areas),
    'train/LIDC-IDRI-0001/z-2.0_c0': ('train/LIDC-IDRI-0001', areas),
    'val/LIDC-IDRI-0007/z9_c1': ('val/LIDC-IDRI-0007', areas),
    'test/LIDC-IDRI-0009/a': ('test/LIDC-IDRI-0009', areas),
  }
  assert source.raters == ['slot 1', 'slot 2', 'slot 3', 'slot 4']
  assert source.rater_order == 'slot'
  np.testing.assert_allclose(source[0]['spacing'], (0.5, 0.5))


def test_empty_masks_may_mean_absence(tmp_path):
  root = dummy_data.write_hpunet(tmp_path / 'manual')
  for file in (root / 'val').rglob('*_l?.png'):
    save(file, mask((18, 18), rows=0))
  source = build(tmp_path, layout='hpunet', empty_masks='absent')
  assert len(source) == 3
  assert lines(source)['test/LIDC-IDRI-0009/a'][1] == [54, 36, 18, None]
  counts = json.loads((source.directory / 'counts.json').read_text())
  assert counts == {'records': 3, 'images left out that nobody marked': 1}


def test_unpacked_archives_with_longer_names_and_flat_files(tmp_path):
  root = tmp_path / 'manual' / 'lidc_crops'
  for part in ('train', 'test'):
    stem = f'LIDC-IDRI-000{len(part)}_x'
    save(root / f'lidc_crops_{part}' / 'images' / f'{stem}.png', shown())
    save(root / f'lidc_crops_{part}' / 'lesions' / f'{stem}_l2.png', mask())
  assert {case for case, _ in lines(build(tmp_path, layout='hpunet')).values()} == {
    'train/LIDC-IDRI-0005',
    'test/LIDC-IDRI-0004',
  }


def test_a_patient_in_two_parts_is_refused(tmp_path):
  root = dummy_data.write_hpunet(tmp_path / 'manual')
  (root / 'val' / 'images' / 'LIDC-IDRI-0007').rename(root / 'val' / 'images' / 'LIDC-IDRI-0001')
  with pytest.raises(DataError, match=r'LIDC-IDRI-0001 is in .* and in .*'):
    build(tmp_path, layout='hpunet')


def test_jpeg_masks_are_cut_at_half_and_counted(tmp_path, caplog):
  root = dummy_data.write_cimd(tmp_path / 'manual')
  stored = np.asarray(Image.open(root / 'training' / '0' / 'label0_.jpg'))
  assert len(np.unique(stored)) > 2
  source = build(tmp_path, layout='cimd')
  areas = [15, 20, 25, 30]
  assert lines(source) == {
    name: (name, areas) for name in ('training/0', 'training/1', 'testing/2')
  }
  assert '12 masks changed by JPEG compression' in caplog.text
  assert source.rater_order == 'slot'
  with_cases = build(tmp_path, layout='cimd', case_pattern='(train|test)')
  assert set(with_cases.info.cases) == {'train', 'test'}


@pytest.mark.parametrize('layout', ['hpunet', 'cimd'])
def test_another_layout_says_what_was_looked_for(tmp_path, layout):
  dummy_data.write_folders(tmp_path / 'manual')
  with pytest.raises(DataError, match=r'was looked for in .*manual \(found: images, rater_1'):
    build(tmp_path, layout=layout)


@pytest.mark.parametrize(
  'options,message',
  [
    ({'layout': 'nnunet'}, "no layout 'nnunet'; there are folders, manifest"),
    ({'empty_masks': 'maybe'}, "empty_masks is 'maybe'"),
    ({'layout': 'hpunet', 'case_pattern': 'a'}, 'leave case_pattern out'),
    ({'layout': 'manifest'}, 'manifest.csv was looked for and is not there'),
  ],
)
def test_bad_options_are_refused(tmp_path, options, message):
  dummy_data.write_folders(tmp_path / 'manual')
  with pytest.raises(DataError, match=message):
    build(tmp_path, **options)


def test_two_images_in_a_slice_folder_are_refused(tmp_path):
  root = dummy_data.write_cimd(tmp_path / 'manual')
  save(root / 'training' / '0' / 'image_9.jpg', shown((16, 16)))
  with pytest.raises(DataError, match=r'image_0\.jpg and image_9\.jpg; one image a folder'):
    build(tmp_path, layout='cimd')


def test_a_set_of_empty_masks_is_refused(tmp_path):
  root = dummy_data.write_folders(tmp_path / 'manual')
  for file in root.glob('rater_*/*'):
    save(file, mask(rows=0))
  with pytest.raises(DataError, match='gives no record: all masks are empty'):
    build(tmp_path, empty_masks='absent')
