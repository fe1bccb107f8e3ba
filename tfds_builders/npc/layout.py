"""Which files make up the set: HDF5 files of the challenge, or NIfTI files in patient folders."""

import pathlib
import re
from typing import NamedTuple

from multirater_jax.data.errors import DataError
from tfds_builders import faults, images, sources

SEQUENCES = ('t1', 't1c', 't2')
RATERS = ('a1', 'a2', 'a3', 'a4')
LABEL = 'label_'
PARTS = ('training_2d', 'training', 'validation', 'testing')
SLICE = r'^(.+)_slice_?([0-9]+)$'
WANTED = 'a folder with training_2d/, training/, validation/ or testing/'
ADVICE = (
  'They hold HDF5 files (<patient>_slice_<n>.h5 or <patient>.h5) or a folder a patient with '
  't1, t1c, t2 and label_a1 to label_a4 as .nii.gz.'
)

Path = pathlib.Path


class Scan(NamedTuple):
  """The files of one slice or volume; ``images`` and ``masks`` are None inside an HDF5 file."""

  name: str  # <part>/<patient>, and /slice-<n> where the file is one slice
  case: str
  file: Path  # the HDF5 file, or the folder of NIfTI files
  images: dict[str, Path] | None = None  # sequence -> file
  masks: dict[str, Path] | None = None  # rater -> file


def find_scans(root: Path, training: str) -> list[Scan]:
  """Every scan below ``root``, sorted.

  ``training`` 'slices' takes ``training_2d`` and 'volumes' takes ``training`` where both are there,
  because they hold the same patients.

  Raises:
    DataError: for another layout and for two files of one name.
  """
  parts = {name: root / name for name in PARTS if (root / name).is_dir()}
  if 'training_2d' in parts and 'training' in parts:
    del parts['training' if training == 'slices' else 'training_2d']
  scans: dict[str, Scan] = {}
  for name, folder in parts.items():
    part = name.removesuffix('_2d')
    for scan in (*_hdf5(folder, part), *_nifti(folder, part)):
      with faults.each():
        if scan.name in scans:
          raise DataError(f'{scans[scan.name].file} and {scan.file} are both {scan.name}.')
        scans[scan.name] = scan
  if not scans:
    where = sources.contents(root) if root.is_dir() else 'it is a file'
    raise DataError(f'{WANTED} was looked for in {root} ({where}). {ADVICE}')
  return [scans[name] for name in sorted(scans)]


def _hdf5(folder: Path, part: str) -> list[Scan]:
  scans = []
  for file in folder.glob('*.h5'):
    if file.name.startswith('.'):
      continue
    match = re.match(SLICE, file.stem)
    patient = f'{part}/{match[1] if match else file.stem}'
    name = f'{patient}/slice-{int(match[2]):04d}' if match else patient
    scans.append(Scan(name, patient, file))
  return scans


def _nifti(folder: Path, part: str) -> list[Scan]:
  """Folders anywhere below ``folder`` in which a file is named t1, or ends in _t1."""
  by_folder: dict[Path, dict[str, Path]] = {}
  for file in sorted(folder.rglob('*')):
    role = _role(images.stem(file)) if images.suffix(file) in images.NIFTI else ''
    if not role:
      continue
    with faults.each():
      roles = by_folder.setdefault(file.parent, {})
      if role in roles:
        raise DataError(f'{roles[role]} and {file} are both {role}; give every patient a folder.')
      roles[role] = file
  scans = []
  for place, roles in by_folder.items():
    with faults.each():
      scans.append(_scan(folder, part, place, roles))
  return scans


def _role(stem: str) -> str:
  """'t1c' for ``Sample_3_t1c``, 'label_a1' for ``label_a1``; '' for other names."""
  roles = (*SEQUENCES, *(LABEL + rater for rater in RATERS))
  return next((role for role in roles if re.search(rf'(^|[_-]){role}$', stem.lower())), '')


def _scan(folder: Path, part: str, place: Path, roles: dict[str, Path]) -> Scan:
  missing = [sequence for sequence in SEQUENCES if sequence not in roles]
  masks = {rater: roles[LABEL + rater] for rater in RATERS if LABEL + rater in roles}
  if missing or not masks:
    raise DataError(f'{place} lacks {", ".join(missing) or "a mask (label_a1 to label_a4)"}.')
  name = f'{part}/{place.relative_to(folder).as_posix()}'.removesuffix('/.')
  return Scan(name, name, place, {sequence: roles[sequence] for sequence in SEQUENCES}, masks)
