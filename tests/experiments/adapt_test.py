import json
import shutil

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

import multirater_jax as mr
from experiments import adapt
from multirater_jax.checkpoints import CheckpointError
from multirater_jax.data.errors import DataError


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Ten bright boxes on dark noise; the new rater draws them whole, another a part."""
  root, rng = tmp_path_factory.mktemp('new_rater'), np.random.default_rng(0)
  for name in ('images', 'rater_1', 'rater_new'):
    (root / name).mkdir()
  for number in range(10):
    image = rng.integers(0, 60, (32, 32), dtype=np.uint8)
    row, column = rng.integers(2, 12, 2)
    box = np.zeros((32, 32), np.uint8)
    box[row : row + 14, column : column + 14] = 255
    part = box * (np.indices(box.shape)[0] < row + 5)
    Image.fromarray(np.maximum(image, box // 3 * 2)).save(root / 'images' / f'{number}.png')
    Image.fromarray(box).save(root / 'rater_new' / f'{number}.png')
    Image.fromarray(part).save(root / 'rater_1' / f'{number}.png')
  return root


@pytest.fixture
def run(personal, tmp_path):
  return shutil.copytree(personal, tmp_path / 'run')


def flags(run, folder, **more):
  cache = folder.parent / 'prepared'  # once for all tests
  settings = {'workdir': str(run), 'manual_dir': str(folder), 'data_dir': str(cache), **more}
  return flagsaver.flagsaver(**settings)


def test_a_new_rater_is_fitted_saved_and_loaded(run, folder, capsys):
  with flags(run, folder, rater='rater_new', num_images=4, steps=30):
    assert adapt.run() == 0
  scores = json.loads((run / 'adapted' / 'rater_new' / 'scores.json').read_text())
  assert (scores['images'], scores['scored']) == (4, 6)
  assert set(scores['dice']) == {'adapted', 'consensus', 'nearest rater'}
  gain = scores['adapted minus consensus']
  means = [scores['dice'][name]['mean'] for name in ('adapted', 'consensus')]
  assert gain['mean'] == pytest.approx(means[0] - means[1], abs=1e-6)
  assert str(run / 'adapted') in capsys.readouterr().out
  model = mr.load(run, new_rater='rater_new')
  raters = len(json.loads((run / 'fingerprint.json').read_text())['raters'])
  image = np.zeros((32, 32), np.uint8)
  maps, known = model.personalize(image), mr.load(run).personalize(image)
  assert model.raters[-1] == 'rater_new'
  assert len(maps) == raters + 1
  np.testing.assert_allclose(maps[:raters], known, atol=1e-5)
  np.testing.assert_allclose(model.personalize(image, ['rater_new'])[0], maps[-1], atol=1e-5)


def test_what_cannot_be_fitted_is_said(run, folder):
  for more, message in (
    ({'rater': 'nobody'}, 'has no rater "nobody"; it has'),
    ({'rater': 'new', 'num_images': 10}, 'too few to fit 10'),
    ({'rater': None}, 'Give --workdir=RUN and --rater=NAME'),
  ):
    with flags(run, folder, **more), pytest.raises(DataError, match=message):
      adapt.run()
  with flags(run.parent, folder, rater='new'), pytest.raises(DataError, match='not the fold'):
    adapt.run()
  with pytest.raises(CheckpointError, match='no adapted rater "nobody"'):
    mr.load(run, new_rater='nobody')
  assert not (run / 'adapted').exists()
