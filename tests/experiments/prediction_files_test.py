"""Predictions of other software: what is found, what is read, what is refused."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from experiments.prediction_files import Map, find_dpersona, find_folders, read_unit, to_probs
from multirater_jax.case_rows import PlainCase, score_cases
from multirater_jax.data.errors import DataError
from multirater_jax.metrics.score import score

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


def save(path, array, affine=None):
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.name.endswith('.nii.gz'):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
  else:
    Image.fromarray(array).save(path)


def mask(shape=(9, 8)):
  return (RNG.random(shape) < 0.4).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
  """Two samples, three raters and their own outputs, of three PNG images each."""
  arrays = {}
  for group, names in {
    'samples': ['s_1', 's_10', 's_2'],
    'raters': ['anna', 'ben'],
    'own': ['anna', 'ben'],
  }.items():
    for name in names:
      for unit in ('p1_a', 'p1_b', 'p2_a'):
        arrays[group, name, unit] = mask()
        save(tmp_path / group / name / f'{unit}.png', arrays[group, name, unit] * 255)
  return tmp_path, arrays


def find(root, own=False, allow_missing=False):
  personalized = root / 'own' if own else None
  return find_folders(root / 'samples', root / 'raters', personalized, allow_missing=allow_missing)


def read(found, unit, num_classes=2, probabilities=False):
  return read_unit(found, unit, num_classes=num_classes, probabilities=probabilities)


def test_folders_are_read_in_natural_order(folders):
  root, arrays = folders
  unit = read(find(root, own=True), 'p1_b')
  samples = [arrays['samples', name, 'p1_b'] for name in ('s_1', 's_2', 's_10')]
  np.testing.assert_array_equal(unit.samples[:, 0], samples)
  raters = [arrays['raters', name, 'p1_b'] for name in ('anna', 'ben')]
  np.testing.assert_array_equal(unit.masks[:, 0], raters)
  own = [arrays['own', name, 'p1_b'] for name in ('anna', 'ben')]
  np.testing.assert_array_equal(unit.personalized[:, 0], own)
  assert unit.annotated.all()


def test_the_command_writes_scores_and_a_report(folders):
  root, arrays = folders
  command = [sys.executable, '-m', 'experiments.score', f'--predictions={root}/samples']
  command += [f'--masks={root}/raters', f'--personalized={root}/own', f'--workdir={root}/out']
  command += ['--case_pattern=^(p.)', '--spacing=0.5,0.5']
  result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert result.returncode == 0, result.stderr
  with (root / 'out/evaluation/cases.csv').open() as file:
    lines = list(csv.DictReader(file))
  assert [line['row'] for line in lines[::3]] == ['predictions', 'raters', 'mean field']
  assert [line['case'] for line in lines[:3]] == ['p1', 'p1', 'p2']
  expected = score(
    np.stack([arrays['samples', name, 'p1_a'] for name in ('s_1', 's_2', 's_10')]),
    np.stack([arrays['raters', name, 'p1_a'] for name in ('anna', 'ben')]),
    personalized=np.stack([arrays['own', name, 'p1_a'] for name in ('anna', 'ben')]),
    spacing=(0.5, 0.5),
  )
  for name, value in expected.items():
    assert float(lines[0][name]) == pytest.approx(value, abs=1e-5), name
  summary = json.loads((root / 'out/evaluation/summary.json').read_text())
  assert (summary['units'], summary['cases'], summary['num_samples']) == (3, 2, 3)
  ged = summary['rows'][0]['scores']['ged']
  assert ged['mean'] == pytest.approx(np.mean([float(line['ged']) for line in lines[:3]]), abs=1e-5)
  assert ged['low'] <= ged['mean'] <= ged['high']
  assert np.shape(summary['dice_matrix']['predictions']) == (2, 2)
  assert (root / 'out/report.html').stat().st_size > 1000


def test_an_input_error_is_one_sentence_and_exit_code_2(tmp_path):
  command = [sys.executable, '-m', 'experiments.score', f'--predictions={tmp_path}/none']
  result = subprocess.run(
    [*command, '--masks=x', f'--workdir={tmp_path}/out'],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 2
  assert (
    result.stderr.strip().splitlines()[-1].startswith(f'error: {tmp_path}/none is not a folder')
  )


def test_bounds_stand_beside_the_predictions(folders):
  root, _ = folders
  found = find(root)
  rows = score_cases(read(found, unit) for unit in found.units)
  assert [(row.label, row.kind) for row in rows] == [
    ('predictions', 'model'),
    ('raters', 'bound'),
    ('mean field', 'bound'),
  ]
  unit = read(found, found.units[0])
  left_out = [score(unit.masks[[r]], unit.masks[[1 - r]]) for r in (0, 1)]
  for name in ('ged', 'dice_match', 'ece', 'hd95', 'assd'):
    mean = np.mean([scores[name] for scores in left_out])
    assert rows[1].scores[name][0] == pytest.approx(mean, abs=1e-6), name


def test_dpersona_layout(tmp_path):
  arrays = {}
  for n in range(2):
    for i in range(1, 5):
      for kind in ('pred_s', 'label_a'):
        arrays[n, kind, i] = mask().astype(np.float32)
        save(tmp_path / f'{n:02d}_{kind}{i}.nii.gz', arrays[n, kind, i])
    save(tmp_path / f'{n:02d}_image.nii.gz', RNG.random((9, 8)).astype(np.float32))
  found = find_dpersona(tmp_path)
  assert list(found.raters) == ['a1', 'a2', 'a3', 'a4']
  unit = read(found, '01')
  np.testing.assert_array_equal(unit.samples[:, 0], [arrays[1, 'pred_s', i] for i in range(1, 5)])
  np.testing.assert_array_equal(unit.masks[:, 0], [arrays[1, 'label_a', i] for i in range(1, 5)])


def test_nnunet_folders_and_the_spacing_of_volumes(tmp_path):
  affine = np.diag([0.5, 0.7, 3.0, 1.0])
  for fold in range(2):
    volume = mask((6, 7, 4))
    save(tmp_path / f'samples/fold_{fold}/validation/case.nii.gz', volume, affine)
    save(tmp_path / f'raters/r{fold}/case.nii.gz', mask((6, 7, 4)), affine)
  unit = read(find(tmp_path), 'case')
  np.testing.assert_array_equal(unit.samples[1], np.moveaxis(volume, 2, 0))
  assert unit.spacing == pytest.approx((3.0, 0.5, 0.7))


def test_probabilities_and_classes(tmp_path):
  values = RNG.integers(0, 256, (5, 6)).astype(np.uint8)
  save(tmp_path / 'samples/s/a.png', values)
  save(tmp_path / 'raters/r/a.png', mask((5, 6)))
  unit = read(find(tmp_path), 'a', probabilities=True)
  np.testing.assert_allclose(unit.samples[0, 0], values / 255, atol=1e-6)
  save(tmp_path / 'samples/s/a.png', values % 3)
  unit = read(find(tmp_path), 'a', num_classes=3)
  np.testing.assert_array_equal(unit.samples[0, 0].argmax(-1), values % 3)


def test_a_missing_mask_can_mean_not_drawn(folders):
  root, _ = folders
  (root / 'raters/ben/p2_a.png').unlink()
  with pytest.raises(DataError, match=r'samples/s_1/p2_a.png .*raters/ben/p2_a.png.*allow_missing'):
    find(root)
  unit = read(find(root, allow_missing=True), 'p2_a')
  assert unit.annotated.tolist() == [True, False]
  (root / 'raters/anna/p2_a.png').unlink()
  with pytest.raises(DataError, match=r'p2_a.png has no mask in any of .*anna.*ben'):
    find(root, allow_missing=True)


def test_missing_predictions_name_both_files(folders):
  root, _ = folders
  (root / 'samples/s_10/p1_a.png').unlink()
  with pytest.raises(DataError, match=r's_1/p1_a.png has no counterpart .*s_10/p1_a.png'):
    find(root)
  for name in ('s_1', 's_2'):
    (root / f'samples/{name}/p1_a.png').unlink()
  with pytest.raises(DataError, match=r'raters/anna/p1_a.png has no counterpart .*s_1/p1_a.png'):
    find(root)


def test_other_shapes_and_affines_name_both_files(folders, tmp_path):
  root, _ = folders
  save(root / 'raters/ben/p1_a.png', mask((9, 9)))
  with pytest.raises(DataError, match=r'ben/p1_a.png has shape 1 x 9 x 9 but .*s_1/p1_a.png'):
    read(find(root), 'p1_a')
  save(tmp_path / 'v/samples/s/a.nii.gz', mask((4, 5, 3)))
  save(tmp_path / 'v/raters/r/a.nii.gz', mask((4, 5, 3)), np.diag([1, 1, 2, 1.0]))
  with pytest.raises(DataError, match=r'r/a.nii.gz and .*s/a.nii.gz have different affines'):
    read(find(tmp_path / 'v'), 'a')


@pytest.mark.parametrize(
  ('values', 'options', 'message'),
  [
    (np.arange(72, dtype=np.uint8).reshape(9, 8), {}, 'p1_a.png has the values 0, 1, 2'),
    (np.full((9, 8, 3), [0, 9, 90], np.uint8), {}, 'is a color image'),
    (mask() * 7, {'num_classes': 3}, 'only 0 to 2 are classes'),
  ],
)
def test_files_that_are_no_masks_are_refused(folders, values, options, message):
  root, _ = folders
  save(root / 'samples/s_1/p1_a.png', values)
  with pytest.raises(DataError, match=message):
    read(find(root), 'p1_a', **options)


def test_one_value_a_pixel_is_no_probability_of_three_classes(tmp_path):
  content = Map(tmp_path / 'a.png', mask()[None], None, None)
  with pytest.raises(DataError, match='cannot be probabilities of 3'):
    to_probs(content, num_classes=3, probabilities=True)


def test_folders_that_do_not_fit_are_refused(folders, tmp_path):
  root, _ = folders
  (root / 'own/ben').rename(root / 'own/carl')
  with pytest.raises(DataError, match=r'anna, carl but the raters of .* anna, ben'):
    find(root, own=True)
  (tmp_path / 'empty').mkdir()
  with pytest.raises(DataError, match='holds no image'):
    find_folders(tmp_path / 'empty', root / 'raters', None, allow_missing=False)
  with pytest.raises(DataError, match='as D-Persona writes them'):
    find_dpersona(root / 'samples/s_1')


def test_errors_of_arrays_start_with_the_name():
  case = PlainCase(
    'x.png', np.full((1, 4, 4), 2.0), np.ones((1, 4, 4)), np.ones(1, bool), None, None
  )
  with pytest.raises(ValueError, match=r'^x.png: samples hold values from 2 to 2'):
    score_cases([case])
