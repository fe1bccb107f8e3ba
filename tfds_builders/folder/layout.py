"""Which files of the user's folder belong together: images/ and one folder a rater."""

import pathlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from multirater_jax.data.errors import DataError
from tfds_builders import faults, images, sources

WANTED = 'a folder with images/ and one folder rater_<name>/ for every rater'
ADVICE = (
  'A mask has the file name of its image (any of .png .tif .jpg .nii .nii.gz); leave it out where '
  'the rater did not draw.'
)
PREFIX = 'rater_'

Files = dict[str, pathlib.Path]  # stem -> file


class Entry(NamedTuple):
  """An image or volume and the mask of every rater, None where a rater did not draw."""

  name: str
  case: str
  image: pathlib.Path
  masks: list[pathlib.Path | None]


class Found(NamedTuple):
  """What a layout finds in a folder."""

  raters: list[str]
  entries: list[Entry]
  rater_identity: bool
  spacing: tuple[float, float] | None = None  # mm, of flat images
  lossy: bool = False  # masks went through JPEG
  notes: tuple[str, ...] = ()  # what was left out, for the log


def find_folders(path: pathlib.Path, case_pattern: str) -> Found:
  """``images/<stem>`` and ``rater_<name>/<stem>``; raters in natural order.

  Raises:
    DataError: for another layout, and when a rater has no mask for any image.
  """
  folders = [folder for folder in path.glob(f'{PREFIX}*') if folder.is_dir()]
  folders.sort(key=lambda folder: natural(folder.name))
  if not (path / 'images').is_dir() or not folders:
    where = sources.contents(path) if path.is_dir() else 'it is a file'
    raise DataError(f'{WANTED} was looked for in {path} ({where}). {ADVICE}')
  image_files = _by_stem(path / 'images')
  if not image_files:
    raise DataError(f'{path / "images"} holds no image ({", ".join(images.SUFFIXES)}).')
  masks = {folder.name.removeprefix(PREFIX): _by_stem(folder) for folder in folders}
  for rater, found in masks.items():
    with faults.each():
      if not found.keys() & image_files.keys():
        raise DataError(f'No file in {PREFIX}{rater}/ has the name of an image. {ADVICE}')
  entries = []
  for stem, file in image_files.items():
    with faults.each():
      drawn_by = [found.get(stem) for found in masks.values()]
      entries.append(Entry(stem, case_of(stem, case_pattern), file, drawn_by))
  entries, notes = drawn(entries)
  stray = sorted(set().union(*masks.values()) - image_files.keys())
  if stray:
    notes += (f'{len(stray)} mask names belong to no image, first {stray[0]}.',)
  return Found([rater_name(name) for name in masks], entries, rater_identity=True, notes=notes)


def drawn(entries: list[Entry]) -> tuple[list[Entry], tuple[str, ...]]:
  """The entries with at least one mask, and a note on the others."""
  kept = [entry for entry in entries if any(mask is not None for mask in entry.masks)]
  bare = [entry.name for entry in entries if all(mask is None for mask in entry.masks)]
  if not bare:
    return kept, ()
  return kept, (f'{len(bare)} images without any mask are left out, first {bare[0]}.',)


def rater_name(name: str) -> str:
  """How a rater is shown: 'rater 1' for '1', any other name as it is."""
  return f'rater {name}' if name.isdigit() else name


def natural(name: str) -> list[tuple[int, int | str]]:
  """A sort key that puts rater_2 before rater_10."""
  parts = re.split(r'([0-9]+)', name)
  return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def _by_stem(folder: pathlib.Path) -> Files:
  files: Files = {}
  for file in sorted(folder.iterdir()):
    if file.name.startswith('.') or not images.suffix(file):
      continue
    stem = images.stem(file)
    with faults.each():
      if stem in files:
        raise DataError(f'{files[stem]} and {file} have one name; keep one of them.')
      files[stem] = file
  return files


def storage(files: Iterable[pathlib.Path]) -> tuple[type, int]:
  """The common type (uint8, else uint16) and number of channels, from the images' headers.

  Raises:
    DataError: when gray and color images are mixed.
  """
  first: dict[int, pathlib.Path] = {}
  deep = False
  for file in files:
    wide, channels = images.read(lambda file=file: _header(file), file)
    first.setdefault(channels, file)
    deep |= wide
  if len(first) > 1:
    raise DataError(f'{first[1]} is gray and {first[3]} is in color; make all images alike.')
  return (np.uint16 if deep else np.uint8), next(iter(first))


def _header(file: pathlib.Path) -> tuple[bool, int]:
  if images.suffix(file) in images.NIFTI:
    return True, 1
  with images.open_flat(file, file) as image:
    wide = image.mode == 'F' or image.mode.startswith('I')
    return wide, 1 if wide or image.mode in ('1', 'L', 'LA') else 3


def case_of(stem: str, pattern: str) -> str:
  """The case of an image: the first group of ``pattern`` in its stem, or the stem.

  Raises:
    DataError: when the pattern does not occur in the stem.
  """
  if not pattern:
    return stem
  match = re.search(pattern, stem)
  if not match or not match[match.re.groups and 1]:
    raise DataError(f'case_pattern {pattern!r} finds no case in the name {stem!r}.')
  return match[match.re.groups and 1]
