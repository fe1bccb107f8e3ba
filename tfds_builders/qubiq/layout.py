"""Which files of the challenge's folders belong to a task."""

import pathlib
import re
from typing import NamedTuple

from multirater_jax.data.errors import DataError
from tfds_builders import faults, images, sources

WANTED = 'a folder with <data set>/<part>/case*/image.nii.gz and task*_seg*.nii.gz'
ADVICE = 'Unpack the archives of the challenge and give the folder above them.'
_MASK = re.compile(r'task_?0*([0-9]+)_seg_?0*([0-9]+)')


class Task(NamedTuple):
  """One structure to segment."""

  folder: str  # of the data set
  number: int  # of the task in its files
  channels: int
  cases: int  # published: training and validation together; 0 unknown
  raters: int  # published
  slice_axis: int = 2  # of a volume


TASKS = {
  'brain-growth': Task('brain-growth', 1, 1, 39, 7),
  'brain-tumor-1': Task('brain-tumor', 1, 4, 32, 3),
  'brain-tumor-2': Task('brain-tumor', 2, 4, 32, 3),
  'brain-tumor-3': Task('brain-tumor', 3, 4, 32, 3),
  'kidney': Task('kidney', 1, 1, 24, 3),
  'prostate-1': Task('prostate', 1, 1, 55, 6),
  'prostate-2': Task('prostate', 2, 1, 55, 6),
  'pancreas': Task('pancreas', 1, 1, 0, 2, slice_axis=0),
  'pancreatic-lesion': Task('pancreatic-lesion', 1, 1, 0, 2, slice_axis=0),
}


class Entry(NamedTuple):
  """A case folder: its image, and the masks of the task by the number of the rater."""

  name: str  # <part>/<folder>
  case: str  # <part>/<folder up to a hyphen>: case7-1 and case7-2 are one patient
  image: pathlib.Path
  masks: dict[int, pathlib.Path]


def find_entries(root: pathlib.Path, task: Task) -> list[Entry]:
  """The cases of a task below ``root``, those without any mask included.

  Raises:
    DataError: for another layout and for two folders of one name.
  """
  entries: dict[str, Entry] = {}
  for folder in sorted(root.rglob('case*')):
    part = _part(folder, root, task.folder) if folder.is_dir() else None
    if part is None:
      continue
    name = f'{part}/{folder.name}'
    with faults.each():
      entry = _entry(name, folder, task)
      if name in entries:
        raise DataError(f'{entries[name].image.parent} and {folder} are both {name}; keep one.')
      entries[name] = entry
  if not any(entry.masks for entry in entries.values()):
    where = sources.contents(root) if root.is_dir() else 'it is a file'
    raise DataError(
      f'{WANTED}, data set {task.folder}, task {task.number}, was looked for in {root} ({where}). '
      f'{ADVICE}'
    )
  return list(entries.values())


def _entry(name: str, folder: pathlib.Path, task: Task) -> Entry:
  files = [file for file in sorted(folder.iterdir()) if images.suffix(file) in images.NIFTI]
  shown = [file for file in files if images.stem(file) == 'image']
  if len(shown) != 1:
    raise DataError(f'{folder} holds {len(shown)} files image.nii.gz; one is needed.')
  return Entry(name, name.partition('-')[0], shown[0], _masks(files, task.number))


def _part(folder: pathlib.Path, root: pathlib.Path, wanted: str) -> str | None:
  """'training' of ``.../brain-growth/Training/case01``; None in another data set's folder."""
  above = [_plain(name) for name in (root.name, *folder.relative_to(root).parts[:-1])]
  names = [name for name in above if name in {task.folder for task in TASKS.values()}]
  if not names or names[-1] != wanted:
    return None
  below = above[len(above) - 1 - above[::-1].index(wanted) + 1 :]
  texts = [*below, *above[::-1]]
  known = ('training', 'validation', 'test')
  return next((part for text in texts for part in known if part in text), 'cases')


def _plain(name: str) -> str:
  """'brain-tumor' of Brain_Tumour: how folders are compared."""
  return re.sub(r'[\s_]+', '-', name.lower()).replace('tumour', 'tumor')


def _masks(files: list[pathlib.Path], task: int) -> dict[int, pathlib.Path]:
  masks: dict[int, pathlib.Path] = {}
  for file in files:
    match = _MASK.fullmatch(images.stem(file).lower())
    if not match or int(match[1]) != task:
      continue
    with faults.each():
      if int(match[2]) in masks:
        raise DataError(f'{masks[int(match[2])]} and {file} are one rater; keep one of them.')
      masks[int(match[2])] = file
  return masks
