import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from multirater_jax.data.source import Source
from tfds_builders import prepare

NUM_IMAGES = 11
SIZES = [(20, 20), (33, 20), (48, 57), (16, 70)]


def draw_set(folder, *, num_images=NUM_IMAGES, sizes=SIZES, raters=3):
  """Random images; rater r marks r + 1 rows of random pixels; rater 1 is absent on every third."""
  rng = np.random.default_rng(0)
  for name in ['images', *(f'rater_{r + 1}' for r in range(raters))]:
    (folder / name).mkdir(parents=True)
  for number in range(num_images):
    size = sizes[number % len(sizes)]
    stem = f'p{number // 2}_{number}.png'
    Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / 'images' / stem)
    for r in range(raters):
      if r == 0 and number % 3 == 0:
        continue
      mask = np.zeros(size, np.uint8)
      mask[: raters - r] = 255
      Image.fromarray(mask).save(folder / f'rater_{r + 1}' / stem)
  return folder


@pytest.fixture(scope='session')
def tiny_dir(tmp_path_factory):
  root = tmp_path_factory.mktemp('tiny')
  draw_set(root / 'manual')
  return prepare('folder', root / 'data', manual_dir=root / 'manual', case_pattern=r'^(p\d+)_')


@pytest.fixture(scope='session')
def tiny(tiny_dir):
  return Source(tiny_dir)


@pytest.fixture(scope='session')
def shared():
  """The folder of a real data set, by name; skips the test where it is absent."""
  default = pathlib.Path(__file__).resolve().parents[3] / 'shared' / 'data'
  root = pathlib.Path(os.environ.get('MULTIRATER_SHARED_DATA') or default)

  def find(name):
    if not (root / name).exists():
      pytest.skip(f'{root / name} is absent; name its folder in MULTIRATER_SHARED_DATA')
    return root / name

  return find
