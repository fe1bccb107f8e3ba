"""Writes a small made-up set in each layout that the builder reads, for tests.

python -m tfds_builders.folder.dummy_data /some/new/folder
"""

import csv
import pathlib
import sys
from collections.abc import Sequence

import nibabel
import numpy as np
from PIL import Image

AFFINE = np.diag([0.5, 0.7, 2.0, 1.0])


def save(path: pathlib.Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
  """An image or volume in the format of the name."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if '.nii' in path.name:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
  else:
    Image.fromarray(array).save(path)


def shown(size: Sequence[int] = (10, 12), value: int = 50, dtype: type = np.uint8) -> np.ndarray:
  """A constant image with one black pixel."""
  array = np.full(size, value, dtype)
  array[0, 0] = 0
  return array


def mask(size: Sequence[int] = (10, 12), rows: int = 2, value: int = 1) -> np.ndarray:
  """Foreground in the first ``rows`` rows."""
  array = np.zeros(size, np.uint8)
  array[:rows] = value
  return array


def write_folders(root: pathlib.Path) -> pathlib.Path:
  """images/ and one folder a rater; rater 2 did not draw on the second image."""
  for stem in 'ab':
    save(root / 'images' / f'{stem}.png', shown())
    save(root / 'rater_1' / f'{stem}.png', mask())
  save(root / 'rater_2' / 'a.png', mask(rows=3))
  return root


def write_table(root: pathlib.Path, rows: Sequence[Sequence[str]]) -> None:
  """manifest.csv"""
  root.mkdir(parents=True, exist_ok=True)
  with open(root / 'manifest.csv', 'w', newline='') as file:
    csv.writer(file).writerows(rows)


def write_manifest(root: pathlib.Path) -> pathlib.Path:
  """A table with two images of one case and one of another."""
  rows = [['image', 'case', 'rater_1', 'rater_anna']]
  for number, case in enumerate(('p1', 'p1', 'p2')):
    save(root / 'scans' / f'{number}.png', shown())
    save(root / 'drawn' / f'{number}_first.png', mask())
    save(root / 'drawn' / f'{number}_second.png', mask(rows=3))
    second = '' if number == 1 else f'drawn/{number}_second.png'
    rows.append([f'scans/{number}.png', case, f'drawn/{number}_first.png', second])
  write_table(root, rows)
  return root


def write_hpunet(root: pathlib.Path, first: int = 0) -> pathlib.Path:
  """Two slices of one patient and one of two others, four masks each, the last one empty."""
  slices = {
    'train': ('0001/z-1.5_c0', '0001/z-2.0_c0'),
    'val': ('0007/z9_c1',),
    'test': ('0009/a',),
  }
  for part, stems in slices.items():
    for stem in stems:
      save(root / part / 'images' / f'LIDC-IDRI-{stem}.png', shown((18, 18)))
      for slot in range(4):
        path = root / part / 'gt' / f'LIDC-IDRI-{stem}_l{slot + first}.png'
        save(path, mask((18, 18), rows=3 - slot, value=255))
  return root


def write_cimd(root: pathlib.Path) -> pathlib.Path:
  """Three slices with four masks that JPEG has blurred."""
  for part, number in (('training', 0), ('training', 1), ('testing', 2)):
    folder = root / part / str(number)
    save(folder / f'image_{number}.jpg', shown((16, 16)))
    for slot in range(4):
      drawn = mask((16, 16), rows=16, value=0)
      drawn[3 : 6 + slot, 4:9] = 255
      save(folder / f'label{slot}_.jpg', drawn)
  return root


if __name__ == '__main__':
  for write in (write_folders, write_manifest, write_hpunet, write_cimd):
    print(write(pathlib.Path(sys.argv[1]) / write.__name__.removeprefix('write_')))
