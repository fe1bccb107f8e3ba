import io
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from tfds_builders import prepare, read_info

# (patient, nodule, slice) -> slots that outlined it
DRAWN = {
  ('LIDC-IDRI-0001', 0, 1): (0, 1, 2, 3),
  ('LIDC-IDRI-0001', 0, 2): (1,),
  ('LIDC-IDRI-0001', 1, 1): (),
  ('LIDC-IDRI-0002', 0, 10): (0, 2),
}


def png(array):
  file = io.BytesIO()
  Image.fromarray(array).save(file, format='png')
  return file.getvalue()


def public_layout():
  """File names and contents of four slices; slot s marks s + 1 pixels, as 1-bit or 8-bit masks."""
  files = {'LIDC-IDRI-slices/notes.txt': b'ignored'}
  for number, ((patient, nodule, k), slots) in enumerate(DRAWN.items()):
    folder = f'LIDC-IDRI-slices/{patient}/nodule-{nodule}'
    files[f'{folder}/images/slice-{k}.png'] = png(np.full((12, 12), 10 * number, np.uint8))
    for slot in range(4):
      mask = np.zeros((12, 12), np.uint8)
      if slot in slots:
        mask[0, : slot + 1] = 255
      files[f'{folder}/mask-{slot}/slice-{k}.png'] = png(mask > 0 if slot % 2 else mask)
  return files


def write_zip(path, files):
  with zipfile.ZipFile(path, 'w') as archive:
    for name, content in files.items():
      archive.writestr(name, content)


def unpack(folder, files):
  for name, content in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_zip_and_unpacked_folder_give_the_same_set(tmp_path):
  files = public_layout()
  (tmp_path / 'packed').mkdir()
  write_zip(tmp_path / 'packed' / 'any name.zip', files)
  unpack(tmp_path / 'flat', files)
  paths = [
    tmp_path / 'packed',
    tmp_path / 'packed' / 'any name.zip',
    tmp_path / 'flat',
    tmp_path / 'flat' / 'LIDC-IDRI-slices',
  ]
  infos = [
    read_info(prepare('lidc_slices', tmp_path / f'data{number}', manual_dir=path))
    for number, path in enumerate(paths)
  ]
  assert len({info.hash for info in infos}) == 1
  assert len(infos[0].records) == 3
  assert infos[0].raters == ['slot 1', 'slot 2', 'slot 3', 'slot 4']
  assert not infos[0].rater_identity


def test_records_hold_what_was_drawn(tmp_path):
  write_zip(tmp_path / 'set.zip', public_layout())
  source = Source(prepare('lidc_slices', tmp_path, manual_dir=tmp_path, min_raters=0))
  names = [f'{patient}/nodule-{nodule}/slice-{k}' for patient, nodule, k in DRAWN]
  assert sorted(line['name'] for line in source.info.records) == sorted(names)
  assert source.rater_order == 'slot'
  for index, line in enumerate(source.info.records):
    number = names.index(line['name'])
    slots = list(DRAWN.values())[number]
    assert line['case'] == line['name'].split('/')[0]
    assert line['areas'] == [slot + 1 if slot in slots else None for slot in range(4)]
    assert (source[index]['image'] == 10 * number).all()
    assert source[index]['image'].shape == (12, 12, 1)
    assert np.isnan(source[index]['spacing']).all()


def test_slots_are_no_persons(tmp_path):
  write_zip(tmp_path / 'set.zip', public_layout())
  with pytest.raises(DataError, match='not the same persons'):
    Source(prepare('lidc_slices', tmp_path, manual_dir=tmp_path), rater_order='identity')


@pytest.mark.parametrize('min_raters,count', [(0, 4), (1, 3), (2, 2), (4, 1)])
def test_min_raters_selects_slices(tmp_path, min_raters, count):
  write_zip(tmp_path / 'set.zip', public_layout())
  directory = prepare('lidc_slices', tmp_path, manual_dir=tmp_path, min_raters=min_raters)
  assert len(read_info(directory).records) == count


@pytest.mark.parametrize('options', [{}, {'manual_dir': 'nowhere'}, {'manual_dir': '.'}])
def test_missing_data_says_what_was_looked_for(tmp_path, monkeypatch, options):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(DataError, match=r'LIDC-IDRI-slices/<patient>/.*Download'):
    prepare('lidc_slices', tmp_path / 'data', **options)


def test_two_candidates_are_not_guessed_between(tmp_path):
  write_zip(tmp_path / 'one.zip', public_layout())
  shutil.copy(tmp_path / 'one.zip', tmp_path / 'two.zip')
  with pytest.raises(DataError, match=r'one\.zip and two\.zip'):
    prepare('lidc_slices', tmp_path, manual_dir=tmp_path)


@pytest.mark.parametrize(
  'change,message',
  [
    (lambda files, name: files.pop(name), r'slice-10 lacks .*mask-3'),
    (lambda files, name: files.update({name: b'\x89PNG broken'}), r'Cannot read .*mask-3'),
    (
      lambda files, name: files.update({name: png(np.arange(144, dtype=np.uint8).reshape(12, 12))}),
      'values 0, 1, 2',
    ),
    (lambda files, name: files.update({name: png(np.zeros((9, 9), np.uint8))}), 'slice-10'),
  ],
  ids=['missing mask', 'broken file', 'not binary', 'other size'],
)
def test_a_bad_mask_is_named_and_leaves_no_set(tmp_path, change, message):
  files = public_layout()
  change(files, 'LIDC-IDRI-slices/LIDC-IDRI-0002/nodule-0/mask-3/slice-10.png')
  write_zip(tmp_path / 'set.zip', files)
  with pytest.raises(DataError, match=message):
    prepare('lidc_slices', tmp_path / 'data', manual_dir=tmp_path)
  assert not list((tmp_path / 'data').rglob('records.json'))
  assert not list((tmp_path / 'data').rglob('dataset_info.json'))
