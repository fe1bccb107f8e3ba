import csv
import json

import numpy as np
import pytest
import tiny
from PIL import Image

METHODS = sorted(
  path.stem for path in tiny.CONFIGS.glob('*.py') if path.stem not in ('__init__', 'default')
)
RUN_FILES = [
  'config.json',
  'environment.json',
  'evaluation/cases.csv',
  'evaluation/panels.npz',
  'evaluation/summary.json',
  'fingerprint.json',
  'metrics.jsonl',
  'report.html',
  'split.json',
]


def draw(path, array):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(array).save(path)


@pytest.fixture(scope='session')
def manual(tmp_path_factory):
  """Folders with images of random gray and squares as masks, by the name of the data set."""
  root, rng = tmp_path_factory.mktemp('manual'), np.random.default_rng(0)
  for number in range(24):
    image = rng.integers(0, 256, (40, 32), dtype=np.uint8)
    patient = root / 'lidc_slices' / 'LIDC-IDRI-slices' / f'LIDC-IDRI-{number // 2:04}' / 'nodule-0'
    draw(patient / 'images' / f'slice-{number}.png', image[:32])
    draw(root / 'folder' / 'images' / f'{number}.png', image)
    for rater in range(4):
      mask = np.zeros_like(image)
      mask[4 : 12 + 2 * rater, 4:20] = 255 * (number % 5 != rater)
      draw(patient / f'mask-{rater}' / f'slice-{number}.png', mask[:32])
      if number % 3 != rater:
        draw(root / 'folder' / f'rater_{rater + 1}' / f'{number}.png', mask)
  return root


@pytest.fixture(scope='module', params=[(m, d) for m in METHODS for d in ('phantom', 'lidc_slices', 'folder')], ids='-'.join)
def finished(request, tmp_path_factory, data_dir, manual):
  """The workdir of a finished run of every config on every data set."""
  method, data = request.param
  more = {} if data == 'phantom' else {'data__manual_dir': manual / data}
  workdir = tmp_path_factory.mktemp('run')
  assert tiny.call(tiny.arguments(workdir, data_dir, method=method, data=data, **more)) == 0
  return workdir


def test_the_run_leaves_its_files(finished):
  for name in RUN_FILES:
    assert (finished / name).stat().st_size > 0, name
