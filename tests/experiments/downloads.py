"""A source for every data set that the user brings: 24 cases of noise that four raters marked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tfds_builders.lidc_idri import dummy_data as lidc
from tfds_builders.npc import dummy_data as npc
from tfds_builders.qubiq import dummy_data as qubiq

CASES, RATERS = 24, 4
SHAPE = (40, 32)


def _folder(root: Path) -> None:
  """Images of which every rater left some out."""
  for number in range(CASES):
    _draw(root / 'images' / f'{number}.png', _noise(number))
    for rater in range(RATERS):
      if number % 3 != rater:
        _draw(root / f'rater_{rater + 1}' / f'{number}.png', 255 * _box(number, rater))


def _lidc_slices(root: Path) -> None:
  for number in range(CASES):
    nodule = root / 'LIDC-IDRI-slices' / f'LIDC-IDRI-{number:04}' / 'nodule-0'
    _draw(nodule / 'images' / 'slice-0.png', _noise(number)[:32])
    for rater in range(RATERS):
      _draw(nodule / f'mask-{rater}' / 'slice-0.png', 255 * _box(number, rater)[:32])


def _lidc_idri(root: Path) -> None:
  """Five slices a patient, of which four hold a nodule that three of four sessions outlined."""
  for number in range(CASES):
    lidc.write_download(root, series=str(number + 1), slices=5)


def _npc(root: Path) -> None:
  """The parts of the challenge: 14 patients as slices, 4 and 6 as volumes."""
  for number in range(CASES):
    image, masks = npc.volume(number, depth=2)
    if number < 14:
      for position in range(2):
        path = root / 'training_2d' / f'Sample_{number}_slice_{position}.h5'
        npc.write_hdf5(path, image[:, position], masks[:, position])
    else:
      part = 'validation' if number < 18 else 'testing'
      npc.write_hdf5(root / part / f'Sample_{number}.h5', image, masks)


def _qubiq(root: Path) -> None:
  """The first task, of four raters instead of seven."""
  for number in range(CASES):
    folder = root / 'brain-growth' / 'Training' / f'case{number:02}'
    qubiq.save(folder / 'image.nii.gz', _noise(number))
    for rater in range(RATERS):
      qubiq.save(folder / f'task01_seg{rater + 1:02}.nii.gz', _box(number, rater))


MAKERS: dict[str, Callable[[Path], None]] = {
  'lidc_slices': _lidc_slices,
  'lidc_idri': _lidc_idri,
  'npc': _npc,
  'qubiq': _qubiq,
  'folder': _folder,
}


def _noise(number: int) -> np.ndarray:
  return np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)


def _box(number: int, rater: int) -> np.ndarray:
  """1 in a box that grows from rater to rater; now and then a rater sees nothing."""
  mask = np.zeros(SHAPE, np.uint8)
  mask[4 : 12 + 2 * rater, 4:20] = number % 5 != rater
  return mask


def _draw(path: Path, array: np.ndarray) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(array).save(path)
