"""The real annotation files must give the real masks, pixel for pixel."""

import collections
import csv
import json

import numpy as np
import pydicom
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders
from tfds_builders.lidc_idri import dummy_data
from tfds_builders.lidc_idri.annotations import read_annotations
from tfds_builders.lidc_idri.outlines import rasterize

SIZE = 128


@pytest.fixture(scope='module')
def index(shared):
  """Rows of the sample whose annotation file is there, by patient."""
  with open(shared / 'lidc_xml' / 'patients.csv') as file:
    files = {row['patient']: row['xml'] for row in csv.DictReader(file)}
  rows = collections.defaultdict(list)
  with open(shared / 'lidc_sample' / 'index.csv') as file:
    for row in csv.DictReader(file):
      if row['patient'] in files:
        rows[row['patient']].append(row)
  return files, dict(rows)


def _png(shared, row, kind):
  folder = shared / 'lidc_sample' / row['patient'] / f'nodule-{row["nodule"]}' / kind
  return np.asarray(Image.open(folder / f'slice-{row["slice"]}.png'))


def test_every_mask_is_reproduced(shared, index):
  files, rows = index
  masks = outlined = 0
  for patient, of_patient in rows.items():
    reading = read_annotations(shared / 'lidc_xml' / files[patient])
    for row in of_patient:
      origin = int(row['crop_row0']), int(row['crop_col0'])
      pairs = zip(row['sessions'].split(';'), row['nodule_ids'].split(';'), strict=True)
      for slot, (session, name) in enumerate(pairs):
        found = [
          outline
          for annotation in reading.annotations
          if (str(annotation.session), annotation.name) == (session, name)
          for outline in annotation.outlines
          if abs(outline.z - float(row['z_mm'])) < 1e-3
        ]
        assert bool(found) == bool(session)
        mask = rasterize(found, (SIZE, SIZE), origin)
        np.testing.assert_array_equal(mask, _png(shared, row, f'mask-{slot}') > 0, row['id'])
        masks, outlined = masks + 1, outlined + len(found)
  assert masks >= 800
  assert outlined >= 600


def _zs(reading):
  """Slices of a reading: z by UID, and where no UID repeats, one file each."""
  places = [(one.sop_uid, one.z) for note in reading.annotations for one in note.outlines]
  places += [(mark.sop_uid, mark.z) for mark in reading.marks]
  return dict(places)


@pytest.fixture(scope='module')
def made(shared, index, tmp_path_factory):
  """A download of real annotation files, a real header, and the real crops as pixels."""
  root = tmp_path_factory.mktemp('lidc')
  template = pydicom.dcmread(next((shared / 'lidc_xml').glob('*.dcm')))
  files, rows = index
  for number, patient in enumerate(sorted(rows)):
    if number % 2:  # every second patient: enough
      continue
    path = shared / 'lidc_xml' / files[patient]
    (root / 'xml').mkdir(exist_ok=True)
    (root / 'xml' / path.name).write_bytes(path.read_bytes())
    _write_series(
      shared, root / 'images' / str(number), read_annotations(path), rows[patient], template
    )
  return root


def _write_series(shared, folder, reading, rows, template):
  for number, (uid, z) in enumerate(_zs(reading).items()):
    pixels = np.zeros((512, 512), np.int16)
    for row in rows:
      if row['z_mm'] and abs(float(row['z_mm']) - z) < 1e-3:
        top, left = int(row['crop_row0']), int(row['crop_col0'])
        pixels[top : top + SIZE, left : left + SIZE] = _png(shared, row, 'images')
    dummy_data.write_slice(
      folder / f'{number:06d}.dcm',
      pixels,
      z=z,
      template=template,
      change={
        'SOPInstanceUID': uid,
        'SeriesInstanceUID': reading.series_uid,
        'StudyInstanceUID': reading.study_uid,
        'PatientID': rows[0]['patient'],
        'InstanceNumber': number + 1,
      },
    )


def _expected(shared, rows):
  """Records by name, as the public set has them; slices that two nodules share are left out."""
  places = collections.Counter((row['patient'], row['z_mm']) for row in rows)
  return {
    f'{row["patient"]}_n{row["nodule"]}_s{row["slice"]}': (
      _png(shared, row, 'images'),
      np.stack([_png(shared, row, f'mask-{slot}') > 0 for slot in range(4)]),
      row['z_mm'] and places[row['patient'], row['z_mm']] == 1,
    )
    for row in rows
  }


def test_dicom_and_xml_give_the_public_slices(shared, index, made, tmp_path, monkeypatch):
  monkeypatch.setitem(
    tfds_builders.BUILDERS, 'lidc_idri', 'tfds_builders.lidc_idri.lidc_idri_dataset_builder'
  )
  folder = tfds_builders.prepare(
    'lidc_idri', tmp_path, manual_dir=made / 'images', xml_dir=made / 'xml'
  )
  expected = _expected(shared, [row for of_patient in index[1].values() for row in of_patient])
  patients = {path.name for path in (made / 'xml').iterdir()}
  patients = {patient for patient, file in index[0].items() if file in patients}
  expected = {name: value for name, value in expected.items() if name.split('_')[0] in patients}
  source = tfds.builder_from_directory(folder).as_data_source(split='all')
  records = {record['name'].decode(): record for record in source}
  assert set(records) == set(expected)
  assert len(records) > 80
  for name, (image, masks, alone) in expected.items():
    record = records[name]
    np.testing.assert_array_equal(record['masks'], masks, name)
    assert record['case'].decode() == name.split('_')[0]
    assert (record['annotated'] >= masks.any(axis=(1, 2))).all()
    np.testing.assert_allclose(record['spacing'], 0.703125)
    if alone:  # its extremes are 0 and 255, so the record's own window changes nothing
      np.testing.assert_array_equal(record['image'][..., 0], image, name)
  counts = json.loads((folder / 'counts.json').read_text())
  assert counts['patients'] == counts['scans'] == len(patients)
  assert counts['nodule slices'] == counts['records'] == len(records)
  assert tfds_builders.read_info(folder).rater_identity is False


def test_real_slice_in_hounsfield_units(shared):
  from tfds_builders.lidc_idri.dicom import geometry, read_header, read_hounsfield

  header = read_header(next((shared / 'lidc_xml').glob('*.dcm')))
  assert header.patient == 'LIDC-IDRI-0001'
  assert geometry(header).spacing == (0.703125, 0.703125)
  pixels = read_hounsfield(header)
  assert pixels.shape == (512, 512)
  assert pixels.dtype == np.float32
  assert pixels.min() == -2048
  assert 0 < np.median(pixels[200:300, 200:300]) < 200  # the liver or the heart
