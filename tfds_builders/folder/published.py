"""Layouts in which others published ready-made slices."""

import pathlib
import re
from collections.abc import Iterable

from multirater_jax.data.errors import DataError
from tfds_builders import faults, images, sources
from tfds_builders.folder.layout import Entry, Found, case_of, drawn, natural

PARTS = ('train', 'val', 'test')
HPUNET_SPACING = (0.5, 0.5)
_HPUNET = '<train|val|test>/images/<patient>/<slice>.png and gt/<patient>/<slice>_l<k>.png'
_CIMD = '<part>/<number>/image_<number>.jpg and label<k>_.jpg'


def find_hpunet(path: pathlib.Path, case_pattern: str) -> Found:
  """The LIDC crops released with the hierarchical probabilistic U-Net: 180x180 at 0.5 mm.

  A case is ``<part>/<patient>``, so that the published split can be told from the names.

  Raises:
    DataError: for another layout, and for a patient in two parts.
  """
  if case_pattern:
    raise DataError('Layout hpunet knows its patients; leave case_pattern out.')
  parts = _hpunet_parts(path)
  masks = {part: _numbered(gt) for part, (_, gt) in parts.items()}
  slots = sorted({number for found in masks.values() for by in found.values() for number in by})
  entries = []
  part_of: dict[str, str] = {}
  for part, (shown, _) in parts.items():
    for file in _flat(shown):
      stem = (file.relative_to(shown).parent / images.stem(file)).as_posix()
      with faults.each():
        patient = stem.split('/')[0] if '/' in stem else case_of(stem, r'LIDC-IDRI-\d+')
        if part_of.setdefault(patient, part) != part:
          raise DataError(f'{patient} is in {part_of[patient]} and in {part} of {path}.')
        found = masks[part].get(stem, {})
        entries.append(
          Entry(f'{part}/{stem}', f'{part}/{patient}', file, [found.get(slot) for slot in slots])
        )
  return _slots(path, entries, len(slots), _HPUNET)._replace(spacing=HPUNET_SPACING)


def _hpunet_parts(path: pathlib.Path) -> dict[str, tuple[pathlib.Path, pathlib.Path]]:
  """By name, folder of images and folder of masks of every part below ``path``."""
  parts: dict[str, tuple[pathlib.Path, pathlib.Path]] = {}
  for folder in sorted({path, *path.glob('*'), *path.glob('*/*')}):
    masks = next((folder / name for name in ('gt', 'lesions') if (folder / name).is_dir()), None)
    if masks is None or not (folder / 'images').is_dir():
      continue
    part = next((part for part in PARTS if part in folder.name.lower()), folder.name)
    with faults.each():
      if part in parts:
        other = parts[part][0].parent
        raise DataError(f'{other} and {folder} are both the part {part}; keep one of them.')
      parts[part] = folder / 'images', masks
  return parts


def _numbered(folder: pathlib.Path) -> dict[str, dict[int, pathlib.Path]]:
  """Masks by the image's relative stem and slot number."""
  found: dict[str, dict[int, pathlib.Path]] = {}
  for file in _flat(folder):
    match = re.fullmatch(r'(.+)_l([0-9]{1,3})', images.stem(file))
    if match:
      stem = (file.relative_to(folder).parent / match[1]).as_posix()
      found.setdefault(stem, {})[int(match[2])] = file
  return found


def find_cimd(path: pathlib.Path, case_pattern: str) -> Found:
  """One folder a slice: ``image_7.jpg`` and ``label0_.jpg``, ``label1_.jpg`` and so on.

  Patients are not known unless ``case_pattern`` finds them in the folder's relative path.
  """
  entries, numbers = [], set()
  by_folder: dict[pathlib.Path, list[pathlib.Path]] = {}
  for file in _flat(path):
    by_folder.setdefault(file.parent, []).append(file)
  for folder, files in by_folder.items():
    shown = [file for file in files if file.name.startswith('image_')]
    with faults.each():
      if len(shown) > 1:
        raise DataError(f'{folder} holds {shown[0].name} and {shown[1].name}; one image a folder.')
    masks = {
      int(match[1]): file for file in files if (match := re.match(r'label([0-9]{1,3})_', file.name))
    }
    if shown:
      numbers |= masks.keys()
      entries.append((folder.relative_to(path).as_posix(), shown[0], masks))
  found = []
  for name, file, masks in entries:
    with faults.each():
      case = case_of(name, case_pattern)
      found.append(Entry(name, case, file, [masks.get(number) for number in sorted(numbers)]))
  return _slots(path, found, len(numbers), _CIMD)._replace(lossy=True)


def _flat(folder: pathlib.Path) -> Iterable[pathlib.Path]:
  """All flat images below a folder, in natural order."""
  files = (file for file in folder.rglob('*') if images.suffix(file) in images.FLAT)
  return sorted(files, key=lambda file: natural(file.relative_to(folder).as_posix()))


def _slots(path: pathlib.Path, entries: list[Entry], count: int, wanted: str) -> Found:
  kept, notes = drawn(entries)
  if not kept:
    where = sources.contents(path) if path.is_dir() else 'it is a file'
    raise DataError(f'{wanted} was looked for in {path} ({where}).')
  names = [f'slot {number + 1}' for number in range(count)]
  return Found(names, kept, rater_identity=False, notes=notes)
