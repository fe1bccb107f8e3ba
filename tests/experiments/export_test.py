import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl.testing import flagsaver

import multirater_jax as mr
from experiments import export
from multirater_jax import exported
from multirater_jax.data.errors import DataError


@pytest.fixture(scope='module')
def folder(personal, tmp_path_factory):
  output = tmp_path_factory.mktemp('exported') / 'model'
  with flagsaver.flagsaver(checkpoint=str(personal), output=str(output), samples=3):
    assert export.run() == 0
  return output


@pytest.fixture
def images():
  return np.random.default_rng(0).random((2, 32, 32, 1), np.float32)


def test_programs_give_what_the_run_gives_for_any_batch(folder, personal, images):
  model, loaded = mr.load(personal), exported.load(folder)
  for count in (1, 2):
    expected = mr.sample(model.method, model.params, images[:count], 3, seed=4)
    np.testing.assert_allclose(loaded.sample(images[:count], seed=4), expected, atol=1e-5)
  styles = np.eye(len(model.raters))
  expected = mr.personalize(model.method, model.params, images, styles)
  np.testing.assert_allclose(loaded.personalize(images), expected, atol=1e-5)
  mixed = loaded.personalize(images, styles.mean(0, keepdims=True))
  assert mixed.shape == (2, 1, 32, 32, 2)
  many = loaded.personalize(images, np.concatenate([styles, styles[::-1], styles[:1]]))
  np.testing.assert_allclose(many[:, [7, 8]], expected[:, [0, 0]], atol=1e-5)
  assert loaded.facts['raters'] == list(model.raters)


def test_the_loader_needs_jax_and_numpy_alone(folder):
  code = (
    'import sys, importlib.util as u, numpy as np;'
    f's = u.spec_from_file_location("exported", {str(Path(exported.__file__))!r});'
    'm = u.module_from_spec(s); s.loader.exec_module(m);'
    f'print(m.load({str(folder)!r}).sample(np.zeros((1, 32, 32, 1))).shape);'
    'assert not {"flax", "grain", "orbax", "multirater_jax"} & set(sys.modules)'
  )
  command = [sys.executable, '-c', code]
  done = subprocess.run(command, capture_output=True, text=True, check=False, cwd='/')
  assert done.stdout.strip() == '(1, 3, 32, 32, 2)', done.stderr


def test_what_cannot_be_run_is_said(folder, tmp_path, images):
  with pytest.raises(exported.ExportError, match=r'but \[b 32 32 1\] is due'):
    exported.load(folder).sample(images[:, :20])
  with pytest.raises(exported.ExportError, match='holds no exported model'):
    exported.load(tmp_path)
  for name in ('model.json', 'sample.stablehlo', 'personalize.stablehlo'):
    (tmp_path / name).write_bytes((folder / name).read_bytes())
  facts = json.loads((tmp_path / 'model.json').read_text())
  (tmp_path / 'model.json').write_text(json.dumps(facts | {'format': 99}))
  with pytest.raises(exported.ExportError, match='has format 99'):
    exported.load(tmp_path)
  (tmp_path / 'model.json').write_text(json.dumps(facts))
  program = bytearray((tmp_path / 'sample.stablehlo').read_bytes())
  program[len(program) // 2] ^= 1
  (tmp_path / 'sample.stablehlo').write_bytes(program)
  with pytest.raises(exported.ExportError, match='was changed after its export'):
    exported.load(tmp_path)


def test_an_existing_folder_stays(folder, personal):
  with (
    flagsaver.flagsaver(checkpoint=str(personal), output=str(folder)),
    pytest.raises(DataError, match='exists; remove it'),
  ):
    export.run()
