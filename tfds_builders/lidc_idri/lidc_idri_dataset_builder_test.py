import json
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders
from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri import counts as census
from tfds_builders.lidc_idri import dummy_data
from tfds_builders.lidc_idri.annotations import read_annotations
from tfds_builders.lidc_idri.dummy_data import Roi, annotation_xml, circle
from tfds_builders.lidc_idri.lidc_idri_dataset_builder import configure
from tfds_builders.lidc_idri.outlines import fill
from tfds_builders.lidc_idri.overrides import read_overrides

MODULE = 'tfds_builders.lidc_idri.lidc_idri_dataset_builder'


@pytest.fixture
def prepare(tmp_path, monkeypatch):
  """Prepares a set; returns its folder and its records by name."""
  monkeypatch.setitem(tfds_builders.BUILDERS, 'lidc_idri', MODULE)

  def prepare_and_read(manual_dir, **options):
    folder = tfds_builders.prepare('lidc_idri', tmp_path / 'sets', manual_dir=manual_dir, **options)
    source = tfds.builder_from_directory(folder).as_data_source(split='all')
    return folder, {record['name'].decode(): record for record in source}

  return prepare_and_read


def _annotate(folder, sessions):
  """Replaces the annotation file of a made-up series."""
  path = next(folder.glob('*.xml'))
  path.write_text(annotation_xml(read_annotations(path).series_uid, sessions))


def _areas(record):
  return record['masks'].sum(axis=(1, 2)).tolist()


def test_native(download, prepare):
  folder, records = prepare(download.parents[2])
  assert sorted(records) == [f'LIDC-IDRI-0007_n0_s{step}' for step in range(4)]
  record = records['LIDC-IDRI-0007_n0_s1']
  assert record['image'].shape == (128, 128, 1)
  assert record['masks'].shape == (4, 128, 128)
  assert record['annotated'].tolist() == [True, True, True, False]
  np.testing.assert_allclose(record['spacing'], 0.7)
  areas = _areas(record)
  assert 0 < areas[0] < areas[1] < areas[2]
  first = records['LIDC-IDRI-0007_n0_s0']  # empty here, outlined on another slice
  assert first['annotated'].tolist() == [True, True, True, False]
  assert first['masks'].any(axis=(1, 2)).tolist() == [True, False, False, False]
  inside = record['image'][..., 0][record['masks'][0] > 0]
  assert inside.mean() > 2 * record['image'].mean()
  info = tfds_builders.read_info(folder)
  assert (info.rater_identity, info.num_classes) == (False, 2)
  assert set(info.cases) == {'LIDC-IDRI-0007'}
  assert tfds.builder_from_directory(folder).info.metadata['options']['preset'] == 'native128'


@pytest.mark.parametrize(
  ('presence', 'annotated'),
  [('slice', [1, 0, 0, 0]), ('nodule', [1, 1, 1, 0]), ('scan', [1, 1, 1, 1])],
)
def test_presence(download, prepare, presence, annotated):
  record = prepare(download, presence=presence)[1]['LIDC-IDRI-0007_n0_s0']
  assert record['annotated'].tolist() == [bool(value) for value in annotated]


def test_kohl(download, prepare):
  native = prepare(download)[1]['LIDC-IDRI-0007_n0_s1']
  record = prepare(download, preset='kohl')[1]['LIDC-IDRI-0007_n0_s1']
  assert record['image'].shape == (180, 180, 1)
  assert record['annotated'].all()
  np.testing.assert_allclose(record['spacing'], 0.5)
  scale = (0.7 / 0.5) ** 2
  np.testing.assert_allclose(_areas(record)[:3], np.multiply(_areas(native)[:3], scale), rtol=0.04)
  middle = record['masks'][1][85:95, 85:95]
  assert middle.all()


def test_volume(download, prepare):
  _, records = prepare(download, preset='volume', bits=16)
  assert len(records) == 6
  record = records['LIDC-IDRI-0007_s2']
  assert record['image'].shape == (160, 160, 1)
  assert record['image'].dtype == np.uint16
  assert record['annotated'].all()
  assert record['masks'].any(axis=(1, 2)).tolist() == [True, True, True, False]
  assert not records['LIDC-IDRI-0007_s0']['masks'].any()


def test_min_raters_and_outline(download, prepare):
  _, plain = prepare(download, min_raters=3)
  assert set(plain) == {'LIDC-IDRI-0007_n0_s1', 'LIDC-IDRI-0007_n0_s2'}
  _, larger = prepare(download, min_raters=3, include_outline=True)
  for name, record in plain.items():
    assert (np.array(_areas(larger[name]))[:3] > np.array(_areas(record))[:3]).all()


def test_layouts_give_the_same_set(tmp_path, prepare):
  """Old and new layouts, annotation files apart, a root at any level."""
  series = dummy_data.write_download(tmp_path / 'manifest-1' / 'LIDC-IDRI')
  roots = [series, series.parents[1], tmp_path / 'manifest-1']
  hashes = {tfds_builders.read_info(prepare(root)[0]).hash for root in roots}
  apart = tmp_path / 'xml'
  apart.mkdir()
  for path in series.glob('*.xml'):
    path.rename(apart / path.name)
  for number, path in enumerate(sorted(series.glob('*.dcm'))):
    path.rename(series / f'{5 - number:06d}.dcm')
  hashes.add(tfds_builders.read_info(prepare(tmp_path / 'manifest-1', xml_dir=apart)[0]).hash)
  assert len(hashes) == 1


def test_counts(download, prepare):
  dummy_data.write_download(download.parents[2], series='8')
  (download / 'note.txt').write_text('x')
  folder, records = prepare(download.parents[2])
  counts = json.loads((folder / 'counts.json').read_text())
  assert counts['patients'] == counts['scans'] == counts['nodules'] == 2
  assert counts['annotations'] == 6
  assert counts['nodules by 3'] == 2
  assert counts['records'] == len(records) == 8
  assert counts['files skipped: no DICOM'] == 1
  printed = tfds_builders.counts_text('lidc_idri', folder)
  assert '1018' in printed
  assert 'part of the collection' in printed


def test_table_of_a_complete_collection_has_no_warning():
  assert 'part' not in census.table({'scans': 1018})


def test_odd_outlines_are_counted(download, prepare):
  good = [Roi(5.0, circle(70, 90, 8))]
  sessions = [
    {'a': [*good, Roi(99.0, circle(70, 90, 8))]},
    {'b': [*good, Roi(5.0, [(500, 1), (501, 2), (502, 1)])]},
    {'c': [Roi(5.0, [(60, 80), (80, 100), (80, 80), (60, 100)])]},
    {'d': [Roi(99.0, circle(70, 90, 8))]},
    {'e': [*good, Roi(7.5, circle(70, 90, 8), dummy_data.slice_uid('7', 0))]},
  ]
  _annotate(download, sessions)
  folder, records = prepare(download)
  counts = json.loads((folder / 'counts.json').read_text())
  assert counts['odd: outline without slice'] == 2
  assert counts['odd: annotation without slice'] == 1
  assert counts['odd: outline outside the image'] == 1
  assert counts['odd: self-crossing outline'] == 1
  assert counts['odd: position of another slice'] == 1
  assert counts['odd: extra session'] == 1
  assert len(records) == 3  # two slices of the disk, one of what crosses itself


def test_a_session_counts_once_in_a_nodule(download, prepare):
  halves = {'x': [Roi(5.0, circle(70, 86, 5))], 'y': [Roi(5.0, circle(70, 96, 5))]}
  whole = {'z': [Roi(5.0, circle(70, 91, 10))]}
  _annotate(download, [halves, whole, whole, whole])
  folder, records = prepare(download)
  (record,) = records.values()
  assert _areas(record)[0] == 2 * fill(np.array(circle(70, 86, 5)), (160, 160)).sum()
  assert json.loads((folder / 'counts.json').read_text())['nodules by more'] == 1


def test_overrides(download, prepare, tmp_path):
  _annotate(download, [{'a': [Roi(5.0, circle(70, 60, 5))]}, {'b': [Roi(5.0, circle(70, 100, 5))]}])
  uid = read_annotations(next(download.glob('*.xml'))).series_uid
  path = tmp_path / 'overrides.json'
  assert len(prepare(download)[1]) == 2
  path.write_text(json.dumps({'nodules': {uid: [['0/a', '1/b']]}}))
  ((name, record),) = prepare(download, overrides=path)[1].items()
  assert name.endswith('_n0_s0')
  assert record['annotated'].tolist() == [True, True, False, False]
  path.write_text(json.dumps({'nodules': {uid: [['0/a', '1/q']]}}))
  with pytest.raises(DataError, match='1/q'):
    prepare(download, overrides=path)


@pytest.mark.parametrize(
  'text', ['', '[]', '{"x": {}}', '{"files": {"1": 2}}', '{"nodules": {"1": [3]}}']
)
def test_bad_overrides(tmp_path, text):
  path = tmp_path / 'overrides.json'
  path.write_text(text)
  with pytest.raises(DataError, match=r'overrides\.json'):
    read_overrides(path)


def test_two_scans_of_a_patient_are_one_case(download, prepare):
  other = dummy_data.write_download(download.parents[2], series='8')
  for path in other.glob('*.dcm'):
    path.write_bytes(path.read_bytes().replace(b'LIDC-IDRI-0008', b'LIDC-IDRI-0007'))
  folder, records = prepare(download.parents[2])
  assert set(tfds_builders.read_info(folder).cases) == {'LIDC-IDRI-0007'}
  assert len(records) == 8
  assert 'LIDC-IDRI-0007.2_n0_s0' in records


def test_broken_slice_stops_or_is_counted(download, prepare, tmp_path):
  dummy_data.write_download(download.parents[2], series='8')
  path = sorted(download.glob('*.dcm'))[2]
  path.write_bytes(path.read_bytes()[:-5000])
  with pytest.raises(DataError, match=f'{path.name} is truncated'):
    prepare(download.parents[2])
  assert not list((tmp_path / 'sets').glob('lidc_idri/*/1.0.0'))
  folder, records = prepare(download.parents[2], strict=False)
  assert json.loads((folder / 'counts.json').read_text())['slices skipped: broken'] == 1
  assert any('0008' in name for name in records)


def test_bad_annotation_file_stops_or_is_counted(download, prepare):
  dummy_data.write_download(download.parents[2], series='8')
  next(download.glob('*.xml')).write_text('<a>')
  with pytest.raises(DataError, match=r'\.xml, line 1'):
    prepare(download.parents[2])
  folder, records = prepare(download.parents[2], strict=False)
  counts = json.loads((folder / 'counts.json').read_text())
  assert counts['files skipped: broken'] == counts['series without annotations'] == 1
  assert len(records) == 4


def test_nothing_to_prepare(download, prepare):
  for path in download.glob('*.xml'):
    path.unlink()
  with pytest.raises(DataError, match='1 have none'):
    prepare(download)


def test_links_are_not_followed(download, prepare, tmp_path):
  (download / 'loop').symlink_to(download.parents[2])
  os.symlink(next(download.glob('*.dcm')), download / 'again.dcm')
  folder, _ = prepare(download)
  assert 'slices at one position' not in json.loads((folder / 'counts.json').read_text())


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'preset': 'x'}, 'native128'),
    ({'window': 'x'}, 'lung'),
    ({'presence': 'x'}, 'nodule'),
    ({'bits': 12}, '8 or 16'),
    ({'min_raters': 5}, '4 slots'),
    ({'slots': 0}, '0 slots'),
    ({'tolerance': float('nan')}, 'mm'),
    ({'xml_dir': '/does/not/exist'}, 'exist'),
  ],
)
def test_bad_options(tmp_path, options, message):
  with pytest.raises(DataError, match=message):
    configure(tmp_path, **options)


def test_options_and_files_name_the_config(download):
  first = configure(download)
  assert configure(download).name == first.name
  assert configure(download, preset='kohl').name != first.name
  (download / 'more.txt').write_text('x')
  assert configure(download).name != first.name
