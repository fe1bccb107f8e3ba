import json
import re
import shutil

import nibabel
import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from experiments import predict
from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri.dummy_data import write_slice

RATERS = 4


def call(run, source, output, **more):
  settings = {'checkpoint': str(run), 'input': str(source), 'output': str(output), 'samples': 3}
  with flagsaver.flagsaver(**(settings | more)):
    return predict.run()


def summary(folder):
  return json.loads((folder / 'summary.json').read_text())


@pytest.fixture
def pictures(tmp_path):
  """A square of the training size, an odd larger one, a broken file."""
  folder, rng = tmp_path / 'in', np.random.default_rng(0)
  (folder / 'more').mkdir(parents=True)
  for name, size in (('a.png', (32, 32)), ('more/b.png', (45, 37))):
    Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / name)
  (folder / 'broken.png').write_bytes(b'not a picture')
  return folder


def test_a_folder_of_pictures(personal, pictures, tmp_path, capsys):
  output = tmp_path / 'out'
  assert call(personal, pictures, output) == predict.SOME_FAILED
  said = capsys.readouterr()
  assert 'broken.png' in said.err and '2 of 3 images' in said.out
  assert {str(p.relative_to(output)) for p in output.glob('**/summary.json')} == {
    'a/summary.json',
    'more/b/summary.json',
  }
  found = summary(output / 'more' / 'b')
  assert list(found['raters']) == found['rater_names'] and len(found['raters']) == RATERS
  assert found['unit'] == 'pixels'
  assert found['samples']['low'] <= found['samples']['mean'] <= found['samples']['high']
  assert len(found['rater_dice']) == RATERS * (RATERS - 1) // 2
  for number, (name, size) in enumerate(found['raters'].items(), 1):
    mask = np.asarray(Image.open(output / 'more' / 'b' / f'rater_{name.replace(" ", "_")}.png'))
    assert mask.shape == (45, 37), number
    assert set(np.unique(mask)) <= {0, 255} and (mask > 0).sum() == size
  consensus = np.asarray(Image.open(output / 'more' / 'b' / 'consensus.tif'))
  assert consensus.dtype == np.float32 and 0 <= consensus.min() <= consensus.max() <= 1


def test_the_same_command_goes_on_and_another_is_refused(personal, pictures, tmp_path, capsys):
  (pictures / 'broken.png').unlink()
  output = tmp_path / 'out'
  assert call(personal, pictures, output) == 0
  before = (output / 'a' / 'consensus.tif').stat().st_mtime_ns
  shutil.rmtree(output / 'more')
  assert call(personal, pictures, output) == 0
  assert (output / 'a' / 'consensus.tif').stat().st_mtime_ns == before
  assert (output / 'more' / 'b' / 'summary.json').is_file()
  assert call(personal, pictures, output, seed=5) == predict.SOME_FAILED
  assert 'holds something else' in capsys.readouterr().err


def test_a_volume_keeps_its_geometry_bit_for_bit(personal, tmp_path):
  rng = np.random.default_rng(0)
  affine = np.array(
    [[0.1, -0.7, 0, 12.3], [0.69, 0.11, 0.02, -7], [0, 0.03, 2.5, 99], [0, 0, 0, 1]]
  )
  image = nibabel.Nifti1Image(rng.integers(-100, 900, (40, 33, 3)).astype(np.int16), affine)
  image.set_sform(affine, 1)
  image.set_qform(affine, 2, strip_shears=True)
  image.header.set_xyzt_units('mm')
  nibabel.save(image, tmp_path / 'v.nii.gz')
  source = nibabel.load(tmp_path / 'v.nii.gz')
  assert call(personal, tmp_path / 'v.nii.gz', tmp_path / 'out') == 0
  found = summary(tmp_path / 'out' / 'v')
  assert found['unit'] == 'ml'
  voxel = float(np.prod(source.header.get_zooms())) / 1000
  for path in (tmp_path / 'out' / 'v').glob('*.nii.gz'):
    written = nibabel.load(path)
    assert written.shape == source.shape
    for field in ('pixdim', 'qform_code', 'sform_code', 'srow_x', 'srow_y', 'srow_z', 'xyzt_units'):
      assert (written.header[field] == source.header[field]).all(), (path.name, field)
    assert (written.affine == source.affine).all()
    assert written.get_data_dtype() == (np.uint8 if '_' in path.name else np.float32)
  first = next(iter(found['raters']))
  mask = nibabel.load(tmp_path / 'out' / 'v' / f'rater_{first.replace(" ", "_")}.nii.gz')
  assert np.count_nonzero(mask.get_fdata()) * voxel == pytest.approx(found['raters'][first])


def test_the_page_mixes_the_first_rater_with_the_last(personal, pictures, tmp_path):
  assert call(personal, pictures / 'a.png', tmp_path / 'out', html=True) == 0
  page = (tmp_path / 'out' / 'a' / 'explorer.html').read_text()
  content = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
  names = summary(tmp_path / 'out' / 'a')['rater_names']
  assert len(content['layers']) == len(names)
  assert (content['mix']['from'], content['mix']['to']) == (names[0], names[-1])
  steps = [step['outlines'] for step in content['mix']['steps']]
  assert len(steps) == 5
  assert steps[0] == content['layers'][0]['outlines']
  assert steps[-1] == content['layers'][-1]['outlines']
  assert len(content['samples']) == 3


def test_a_dicom_series_becomes_nifti_in_its_place(personal, tmp_path):
  for number in range(2):
    pixels = np.full((36, 33), 500 * number, np.int16)
    write_slice(tmp_path / 'ct' / f'{number}.dcm', pixels, z=2.5 * number, number=number)
  assert call(personal, tmp_path / 'ct', tmp_path / 'out') == 0
  written = nibabel.load(tmp_path / 'out' / 'ct' / 'consensus.nii.gz')
  assert written.shape == (36, 33, 2)
  np.testing.assert_allclose(written.affine @ (0, 0, 1, 1), (100, 100, 2.5, 1))
  assert summary(tmp_path / 'out' / 'ct')['unit'] == 'ml'


def test_a_flat_volume_and_chosen_raters(personal, tmp_path):
  image = nibabel.Nifti1Image(np.random.default_rng(0).random((32, 40), np.float32), np.eye(4))
  nibabel.save(image, tmp_path / 'flat.nii')
  assert call(personal, tmp_path / 'flat.nii', tmp_path / 'out', raters=['2', '1']) == 0
  found = summary(tmp_path / 'out' / 'flat')
  assert len(found['raters']) == 2
  assert nibabel.load(tmp_path / 'out' / 'flat' / 'consensus.nii.gz').shape == (32, 40)


def test_flags_tell_of_an_image_unlike_those_of_training(personal, tmp_path):
  Image.fromarray(np.full((20, 50), 255, np.uint8)).save(tmp_path / 'white.png')
  assert call(personal, tmp_path / 'white.png', tmp_path / 'out') == 0
  said = ' '.join(summary(tmp_path / 'out' / 'white')['flags'])
  assert 'constant' in said and 'smaller than the training window' in said
  assert 'of the intensities of channel 1 lie outside' in said


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    ({'checkpoint': None}, 'Give --checkpoint'),
    ({'input': 'nowhere'}, 'does not exist'),
    ({'raters': ['9']}, 'no rater "9"'),
    ({'prompt': ['wide']}, 'takes no prompt'),
    ({'checkpoint': '.'}, 'is not the folder of a run'),
  ],
)
def test_a_wish_that_cannot_be_met_writes_nothing(personal, pictures, tmp_path, more, message):
  with pytest.raises(DataError, match=message):
    call(personal, pictures, tmp_path / 'out', **more)
  assert not (tmp_path / 'out').exists()


def test_an_empty_folder_is_refused(personal, tmp_path):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(DataError, match='holds no image'):
    call(personal, tmp_path / 'empty', tmp_path / 'out')


def test_channels_must_be_those_of_training(personal, tmp_path, capsys):
  Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / 'rgb.png')
  assert call(personal, tmp_path / 'rgb.png', tmp_path / 'out') == predict.SOME_FAILED
  assert '3 channels, the run was trained on 1' in capsys.readouterr().err
  assert not (tmp_path / 'out' / 'rgb').exists()


def test_an_image_too_large_for_the_memory_is_refused(personal, tmp_path, capsys, monkeypatch):
  Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / 'large.png')
  sizes = {'SC_PAGE_SIZE': 1, 'SC_PHYS_PAGES': 1000}
  monkeypatch.setattr(predict.os, 'sysconf', sizes.get)
  assert call(personal, tmp_path / 'large.png', tmp_path / 'out') == predict.SOME_FAILED
  assert '40x60 pixels need' in capsys.readouterr().err
  assert not (tmp_path / 'out' / 'large').exists()
