"""Writes a small made-up download of the challenge, for tests.

python -m tfds_builders.npc.dummy_data /some/new/folder
"""

import pathlib
import sys

import nibabel
import numpy as np
from jaxtyping import Float32, UInt8

from tfds_builders.npc.layout import RATERS, SEQUENCES

SIZE = (20, 16)


def volume(
  seed: int, depth: int = 3
) -> tuple[Float32[np.ndarray, 'c d h w'], UInt8[np.ndarray, 'r d h w']]:
  """Three sequences in [0, 1], and masks that grow from rater to rater; the last slice is empty."""
  image = np.random.default_rng(seed).random((3, depth, *SIZE), np.float32)
  masks = np.zeros((4, depth, *SIZE), np.uint8)
  for rater in range(4):
    masks[rater, :-1, 5 : 8 + rater, 4:9] = 1
  return image, masks


def write_hdf5(path: pathlib.Path, image: np.ndarray, masks: np.ndarray) -> pathlib.Path:
  """One file with the challenge's keys."""
  import h5py

  path.parent.mkdir(parents=True, exist_ok=True)
  with h5py.File(path, 'w') as file:
    for key, array in zip(SEQUENCES, image, strict=True):
      file.create_dataset(key, data=array, compression='gzip')
    for rater, mask in zip(RATERS, masks, strict=True):
      file.create_dataset(f'label_{rater}', data=mask, compression='gzip', shuffle=True)
  return path


def write_challenge(root: pathlib.Path) -> pathlib.Path:
  """Two patients as volumes and as slices, and a validation volume."""
  for patient in range(2):
    image, masks = volume(patient)
    write_hdf5(root / 'training' / f'Sample_{patient}.h5', image, masks)
    for number in range(image.shape[1]):
      path = root / 'training_2d' / f'Sample_{patient}_slice_{number}.h5'
      write_hdf5(path, image[:, number], masks[:, number])
  write_hdf5(root / 'validation' / 'Sample_0.h5', *volume(9, depth=2))
  return root


def write_nifti(root: pathlib.Path) -> pathlib.Path:
  """Two patients in folders; rater a3 did not draw on the second."""
  affine = np.diag([0.5, 0.7, 3.0, 1.0])
  for patient in range(2):
    folder = root / 'training' / f'Sample_{patient}'
    folder.mkdir(parents=True)
    image, masks = volume(patient)
    for key, array in zip(SEQUENCES, image * 900, strict=True):
      nibabel.save(nibabel.Nifti1Image(np.moveaxis(array, 0, 2), affine), folder / f'{key}.nii.gz')
    for rater, mask in zip(RATERS, masks, strict=True):
      if (patient, rater) != (1, 'a3'):
        path = folder / f'Sample_{patient}_label_{rater}.nii.gz'
        nibabel.save(nibabel.Nifti1Image(np.moveaxis(mask, 0, 2), affine), path)
  return root


if __name__ == '__main__':
  print(write_challenge(pathlib.Path(sys.argv[1]) / 'hdf5'))
  print(write_nifti(pathlib.Path(sys.argv[1]) / 'nifti'))
