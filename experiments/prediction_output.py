"""The files of a prediction: masks and maps in the format of the input, and what was measured."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from multirater_jax.scans import Maps
from tfds_builders.inputs import Scan

SUMMARY = 'summary.json'


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
  """A folder to fill; ``folder``, which must not exist, appears whole at the end or not at all."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  temporary = folder.with_name(f'.{folder.name}.{os.getpid()}.tmp')
  shutil.rmtree(temporary, ignore_errors=True)
  temporary.mkdir()
  try:
    yield temporary
    os.replace(temporary, folder)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def write(
  folder: Path, scan: Scan, maps: Maps, names: tuple[str, ...], found: dict[str, Any]
) -> None:
  """Writes everything that is said of a scan, and ``found`` as ``summary.json``.

  ``rater_<name>`` and ``sample_<number>`` hold classes; ``consensus`` is a probability,
  ``entropy`` (nats) and ``disagreement`` (variance over raters) are two kinds of uncertainty.
  NIfTI stays NIfTI with the geometry of the input, a DICOM series becomes NIfTI; of other images
  masks become PNG (two classes: 0 and 255) and maps TIFF of 32-bit floats.
  """
  top = 255 if found['num_classes'] == 2 else 1  # a factor: two classes are to be seen
  for name, mask in zip(names, maps.raters, strict=True):
    _write(folder / f'rater_{_file_name(name)}', mask, scan, top)
  for number, mask in enumerate(maps.samples, 1):
    _write(folder / f'sample_{number:02d}', mask, scan, top)
  for name in ('consensus', 'entropy', 'disagreement'):
    _write(folder / name, getattr(maps, name), scan)
  (folder / SUMMARY).write_text(json.dumps(found, indent=1) + '\n')


def is_done(folder: Path, asked: dict[str, Any]) -> bool:
  """Whether ``folder`` holds a prediction made from just what is asked for now."""
  try:
    return json.loads((folder / SUMMARY).read_text())['asked'] == asked
  except (OSError, ValueError, KeyError, TypeError):
    return False


def _file_name(name: str) -> str:
  kept = ''.join(letter if letter.isalnum() else '_' for letter in name)
  return kept.removeprefix('rater_')


def _write(stem: Path, array: Shaped[np.ndarray, 'd h w'], scan: Scan, factor: int = 1) -> None:
  if scan.nifti is None:
    _write_flat(stem, array[0] * array.dtype.type(factor))
  else:
    _write_nifti(stem.with_name(f'{stem.name}.nii.gz'), array, scan)


def _write_flat(stem: Path, array: Shaped[np.ndarray, 'h w']) -> None:
  if array.dtype == np.uint8:
    Image.fromarray(np.ascontiguousarray(array)).save(f'{stem}.png')
  else:
    Image.fromarray(np.ascontiguousarray(array)).save(f'{stem}.tif')


def _write_nifti(path: Path, array: Shaped[np.ndarray, 'd h w'], scan: Scan) -> None:
  """With the header of the input: affine, codes, zooms, units; type and scaling are the map's."""
  like = scan.nifti
  voxels = np.moveaxis(array, 0, 2)
  header = like.header.copy()
  if not scan.slices and len(like.shape) == 2:
    voxels = voxels[..., 0]
  header.set_data_dtype(array.dtype)
  # Without an affine matrix of its own the image keeps the very numbers of the header.
  type(like)(voxels, like.affine if scan.slices else None, header).to_filename(path)
