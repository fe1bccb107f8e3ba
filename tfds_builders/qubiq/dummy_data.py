"""Writes a small made-up download of the challenge, for tests.

python -m tfds_builders.qubiq.dummy_data /some/new/folder
"""

import pathlib
import sys

import nibabel
import numpy as np

AFFINE = np.diag([0.5, 0.7, 1.0, 1.0])
# Folder, shape of the image, tasks and raters, as the challenge has them.
DATA_SETS = (
  ('brain-growth', (16, 20), 1, 7),
  ('brain-tumor', (16, 20, 4), 3, 3),
  ('kidney', (16, 20, 1), 1, 3),
  ('prostate', (16, 20), 2, 6),
)


def save(path: pathlib.Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
  """One NIfTI file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  nibabel.save(nibabel.Nifti1Image(array, affine), path)


def mask(task: int, rater: int) -> np.ndarray:
  """Rows that tell the task, columns that tell the rater."""
  drawn = np.zeros((16, 20), np.float32)
  drawn[: task + 1, : rater + 2] = 1
  return drawn


def write_challenge(root: pathlib.Path) -> pathlib.Path:
  """Two training cases and a validation case of every data set."""
  rng = np.random.default_rng(0)
  for name, shape, tasks, raters in DATA_SETS:
    for part, number in (('Training', 1), ('Training', 2), ('Validation', 3)):
      folder = root / name / part / f'case{number:02d}'
      save(folder / 'image.nii.gz', rng.normal(300, 90, shape).astype(np.float32))
      for task in range(1, tasks + 1):
        for rater in range(1, raters + 1):
          if (name, number, rater) != ('prostate', 2, 6):
            save(folder / f'task{task:02d}_seg{rater:02d}.nii.gz', mask(task, rater))
  return root


if __name__ == '__main__':
  print(write_challenge(pathlib.Path(sys.argv[1])))
