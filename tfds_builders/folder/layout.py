"""Which files of the user's folder belong together."""

import logging
import pathlib
import re

import numpy as np
from PIL import Image

from multirater_jax.data.errors import DataError
from tfds_builders import images, sources

WANTED = 'a folder with images/ and one folder rater_<name>/ for every rater'
ADVICE = (
  'A mask has the file name of its image (any of .png .tif .jpg .nii .nii.gz); leave it out where '
  'the rater did not draw.'
)
PREFIX = 'rater_'

_log = logging.getLogger(__name__)

Files = dict[str, pathlib.Path]  # stem -> file


def find_files(path: pathlib.Path) -> tuple[Files, dict[str, Files]]:
  """The images by stem, and for every rater (in natural order) the masks by stem."""
  raters = [folder for folder in path.glob(f'{PREFIX}*') if folder.is_dir()]
  raters.sort(key=lambda folder: _natural(folder.name))
  if not (path / 'images').is_dir() or not raters:
    where = sources.contents(path) if path.is_dir() else 'it is a file'
    raise DataError(f'{WANTED} was looked for in {path} ({where}). {ADVICE}')
  image_files = _by_stem(path / 'images')
  if not image_files:
    raise DataError(f'{path / "images"} holds no image ({", ".join(images.SUFFIXES)}).')
  return image_files, {folder.name.removeprefix(PREFIX): _by_stem(folder) for folder in raters}


def _natural(name: str) -> list[tuple[int, int | str]]:
  """A sort key that puts rater_2 before rater_10."""
  parts = re.split(r'(\d+)', name)
  return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def _by_stem(folder: pathlib.Path) -> Files:
  files: Files = {}
  for file in sorted(folder.iterdir()):
    if file.name.startswith('.') or not images.suffix(file):
      continue
    stem = images.stem(file)
    if stem in files:
      raise DataError(f'{files[stem]} and {file} have one name; keep one of them.')
    files[stem] = file
  return files


def storage(image_files: Files) -> tuple[type, int]:
  """The common type (uint8, else uint16) and number of channels, from the files' headers.

  Raises:
    DataError: when gray and color images are mixed.
  """
  first: dict[int, pathlib.Path] = {}
  deep = False
  for file in image_files.values():
    wide, channels = images.read(lambda file=file: _header(file), file)
    first.setdefault(channels, file)
    deep |= wide
  if len(first) > 1:
    raise DataError(f'{first[1]} is gray and {first[3]} is in color; make all images alike.')
  return (np.uint16 if deep else np.uint8), next(iter(first))


def _header(file: pathlib.Path) -> tuple[bool, int]:
  if images.suffix(file) in images.NIFTI:
    return True, 1
  with Image.open(file) as image:
    gray = image.mode in ('1', 'L', 'LA', 'F') or image.mode.startswith('I')
    return image.mode == 'F' or image.mode.startswith('I'), 1 if gray else 3


def drawn_images(image_files: Files, mask_files: dict[str, Files]) -> Files:
  """The images that at least one rater drew on; the others are counted in a warning.

  Raises:
    DataError: when a rater has no mask for any image, which is a matter of wrong names.
  """
  for rater, found in mask_files.items():
    if not found.keys() & image_files.keys():
      raise DataError(f'No file in {PREFIX}{rater}/ has the name of an image. {ADVICE}')
  marked = set().union(*mask_files.values())
  bare = [stem for stem in image_files if stem not in marked]
  if bare:
    _log.warning('%d images without any mask are left out, first %s.', len(bare), bare[0])
  stray = sorted(marked - image_files.keys())
  if stray:
    _log.warning('%d mask names belong to no image, first %s.', len(stray), stray[0])
  return {stem: file for stem, file in image_files.items() if stem in marked}


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
