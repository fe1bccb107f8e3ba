"""LIDC-IDRI nodule slices, 128x128, outlined by up to four radiologists."""

import dataclasses
import functools
import io
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from multirater_jax.data.errors import DataError
from tfds_builders import faults, images, parallel, record, sources

NUM_SLOTS = 4
MAX_BYTES = 2**24  # of one PNG; a real one has 10 kB
FILE = re.compile(
  r'(?:^|.*/)(?P<patient>[^/]+)/nodule-(?P<nodule>\d+)/'
  r'(?P<kind>images|mask-(?P<slot>\d+))/slice-(?P<slice>\d+)\.png$'
)
WANTED = 'the zip file or the unpacked folder LIDC-IDRI-slices/<patient>/nodule-<n>/'
ADVICE = 'Download the public set "LIDC-IDRI slices" and give its folder.'


class Slice(NamedTuple):
  """A slice of a nodule; sorts by patient, nodule and number."""

  patient: str
  nodule: int
  number: int

  @property
  def name(self) -> str:
    """The record name, unique in the set."""
    return f'{self.patient}/nodule-{self.nodule}/slice-{self.number}'


Files = dict[Slice, dict[str, str]]  # slice -> 'images' or 'mask-<slot>' -> file name


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """``min_raters``: keep slices that at least so many slots outlined (0 keeps all)."""

  path: str = dataclasses.field(metadata={'hashed': False})
  min_raters: int = 1


def configure(manual_dir: str | os.PathLike | None = None, *, min_raters: int = 1) -> Config:
  """The builder's config for a zip file, an unpacked folder, or a folder that holds one of them."""
  if not 0 <= min_raters <= NUM_SLOTS:
    raise DataError(f'min_raters is {min_raters}; it lies between 0 and {NUM_SLOTS}.')
  path = locate(sources.manual_folder(manual_dir, WANTED, ADVICE))
  files = [path] if path.is_file() else path.glob('*/nodule-*/*/slice-*.png')
  config = Config(name='', path=str(path), min_raters=min_raters)
  return record.named(config, sources.listing(path, files))


def locate(path: pathlib.Path) -> pathlib.Path:
  """The one zip file or unpacked folder of the layout at ``path`` or directly in it."""
  if path.is_file():
    candidates = [path]
  else:
    candidates = [path, path / 'LIDC-IDRI-slices', *sorted(path.glob('*.zip'))]
  found = [candidate for candidate in candidates if _has_layout(candidate)]
  if not found:
    where = sources.contents(path) if path.is_dir() else 'the file is no such zip'
    raise DataError(f'{WANTED} was not found in {path} ({where}). {ADVICE}')
  if len(found) > 1:
    names = ' and '.join(candidate.name for candidate in found)
    raise DataError(f'{path} holds {names}; give the path of one of them as manual_dir.')
  return found[0]


def _has_layout(path: pathlib.Path) -> bool:
  if path.is_dir():
    return next(path.glob('*/nodule-*/images'), None) is not None
  if not zipfile.is_zipfile(path):
    return False
  with zipfile.ZipFile(path) as archive:
    return any(FILE.match(name) for name in archive.namelist())


def group(names: list[str]) -> Files:
  """The files of every slice, from the names in the set.

  Raises:
    DataError: when an image or one of its masks is missing, or a file is there twice.
  """
  files: Files = {}
  for name in names:
    match = FILE.match(name)
    if not match or name.startswith('__MACOSX'):
      continue
    key = Slice(match['patient'], int(match['nodule']), int(match['slice']))
    kinds = files.setdefault(key, {})
    with faults.each():
      if match['kind'] in kinds:
        raise DataError(f'{name} and {kinds[match["kind"]]} are the same slice; keep one of them.')
      kinds[match['kind']] = name
  wanted = {'images', *(f'mask-{slot}' for slot in range(NUM_SLOTS))}
  whole = {}
  for key, kinds in files.items():
    with faults.each():
      if set(kinds) != wanted:
        odd = ', '.join(sorted(wanted ^ set(kinds)))
        raise DataError(f'{key.name} lacks or has too many of {odd}; unpack the set again.')
      whole[key] = kinds
  return whole


class Builder(tfds.core.GeneratorBasedBuilder):
  """One record a slice, one case a patient, four mask slots without identity."""

  VERSION = tfds.core.Version('1.0.0')

  _split_generators = record.only_split

  def _info(self) -> tfds.core.DatasetInfo:
    return record.info(
      self,
      raters=[f'slot {slot + 1}' for slot in range(NUM_SLOTS)],
      rater_identity=False,
      num_classes=2,
      channels=1,
      options={'min_raters': self.builder_config.min_raters},
    )

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    for found in parallel.read(entries(self.builder_config), chunk=32):
      for example in found:
        yield example['name'], record.encode(**example)


def entries(config: Config) -> Iterator[record.Entry]:
  """Every slice by name, with the reader of its record."""
  path = pathlib.Path(config.path)
  if path.is_dir():
    names = [file.relative_to(path).as_posix() for file in path.glob('*/nodule-*/*/*.png')]
    yield from _entries(group(names), functools.partial(_file, path), config)
    return
  try:
    yield from _entries(group(_archive(path).namelist()), functools.partial(_member, path), config)
  finally:
    _archive(path).close()
    _archive.cache_clear()


def _entries(
  files: Files, content: Callable[[str], bytes], config: Config
) -> Iterator[record.Entry]:
  for key in sorted(files):
    yield key.name, functools.partial(_examples, key, files[key], content, config.min_raters)


def _examples(
  key: Slice, files: dict[str, str], content: Callable[[str], bytes], min_raters: int
) -> Iterator[dict[str, Any]]:
  """The record of a slice, unless fewer raters outlined it."""
  image = _pixels(content, files['images'])
  masks = np.stack(
    [_mask(content, files[f'mask-{slot}'], image.shape) for slot in range(NUM_SLOTS)]
  )
  annotated = masks.any(axis=(1, 2))  # an empty slot did not outline this slice
  if annotated.sum() >= min_raters:
    yield {
      'image': image[..., None],
      'masks': masks,
      'annotated': annotated,
      'case': key.patient,
      'name': key.name,
    }


def _file(path: pathlib.Path, name: str) -> bytes:
  return (path / name).read_bytes()


@functools.cache
def _archive(path: pathlib.Path) -> zipfile.ZipFile:
  """The open archive, once a process."""
  return zipfile.ZipFile(path)


def _member(path: pathlib.Path, name: str) -> bytes:
  archive = _archive(path)
  if archive.getinfo(name).file_size > MAX_BYTES:
    raise DataError(f'{name} in {archive.filename} is too large for a slice.')
  try:
    return archive.read(name)
  except zipfile.BadZipFile as error:
    raise DataError(f'{archive.filename} is damaged at {name}; download it again.') from error


def _pixels(content: Callable[[str], bytes], name: str) -> np.ndarray:
  pixels = images.read_pixels(io.BytesIO(content(name)), name)
  gray = pixels if pixels.ndim == 2 else pixels[..., 0]
  if pixels.dtype != np.uint8 or (pixels.ndim == 3 and (pixels != gray[..., None]).any()):
    raise DataError(f'{name} is no 8-bit gray image.')
  return gray


def _mask(content: Callable[[str], bytes], name: str, shape: tuple[int, ...]) -> np.ndarray:
  mask = images.read_mask(io.BytesIO(content(name)), name, 2)
  if mask.shape != shape:
    raise DataError(f'{name} has shape {mask.shape} but its image has shape {shape}.')
  return mask
