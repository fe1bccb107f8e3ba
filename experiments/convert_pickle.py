"""Turn a pickled LIDC set of the literature into a folder of PNG files with a manifest.

  python -m experiments.convert_pickle --pickle=lidc_attributes.pkl --png=downloads/lidc_png

reads a dict from name to ``image`` [h w], ``masks`` (one [h w] a reader) and ``series_uid``. Then

  prepare('folder', 'data', manual_dir='downloads/lidc_png', rater_identity=False)

The pickle is read without running anything in it (see ``numpy_pickle``). A mask is foreground where
its value is above 0.5, before any rounding; the published codes round down first and so lose
fractional values. A case is the text of ``series_uid`` before its first underscore, as in the
published split by patient. Images up to 1 become 16 bit, images up to 255 stay 8 bit where they are
whole numbers.
"""

import csv
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags
from jaxtyping import Bool, UInt8, UInt16
from PIL import Image
from tqdm import tqdm

from experiments.numpy_pickle import read_pickle
from multirater_jax.data.errors import DataError

_PICKLE = flags.DEFINE_string('pickle', None, 'The pickle file.')
_TO = flags.DEFINE_string('png', None, 'The folder to make; it must not exist.')


class Slice(NamedTuple):
  """One item of the dict, checked."""

  name: str
  case: str
  image: np.ndarray
  masks: list[Bool[np.ndarray, 'h w']]
  fractional: int  # masks with values between 0 and 1


def convert(source: str | os.PathLike, folder: str | os.PathLike) -> dict[str, int]:
  """Writes ``images/``, ``rater_<k>/`` and ``manifest.csv``, all or nothing; returns the counts.

  Raises:
    DataError: for a folder that exists and for a pickle of another content.
  """
  folder = pathlib.Path(folder)
  if folder.exists():
    raise DataError(f'{folder} exists; remove it or choose another folder.')
  slices = list(read_slices(source))
  top = _top(slices, source)
  folder.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=f'.{folder.name}.', dir=folder.parent) as temporary:
    inside = pathlib.Path(temporary, 'converted')
    _write(inside, slices, top)
    os.replace(inside, folder)
  return {
    'slices': len(slices),
    'cases': len({item.case for item in slices}),
    'masks': sum(len(item.masks) for item in slices),
    'empty masks': sum(not mask.any() for item in slices for mask in item.masks),
    'masks with fractions': sum(item.fractional for item in slices),
  }


def read_slices(source: str | os.PathLike) -> Iterator[Slice]:
  """The items of the pickled dict, in its order."""
  data = read_pickle(source)
  if not isinstance(data, dict) or not data:
    raise DataError(f'{source} holds no dict of slices.')
  count = None
  for number, (key, item) in enumerate(data.items()):
    where = f'{source}, item {key!r}'
    if not isinstance(item, dict) or not {'image', 'masks', 'series_uid'} <= item.keys():
      raise DataError(f'{where} is no dict with image, masks and series_uid.')
    image = _plane(item['image'], f'{where}, image')
    masks = [
      _mask(mask, image.shape, f'{where}, mask {slot}') for slot, mask in enumerate(item['masks'])
    ]
    count = count or len(masks)
    if not masks or len(masks) != count:
      raise DataError(f'{where} has {len(masks)} masks; the first item has {count}.')
    drawn, fractional = [mask for mask, _ in masks], sum(odd for _, odd in masks)
    yield Slice(_file_name(number, key), _case(item['series_uid'], where), image, drawn, fractional)


def _plane(value: Any, where: str) -> np.ndarray:
  array = np.asarray(value) if isinstance(value, np.ndarray | list) else np.zeros(0)
  if array.ndim != 2 or array.size == 0 or array.dtype.kind not in 'iufb':
    raise DataError(f'{where} is no array [h w] of numbers.')
  if not np.isfinite(array).all():
    raise DataError(f'{where} holds values that are not finite.')
  return array


def _mask(value: Any, shape: tuple[int, ...], where: str) -> tuple[Bool[np.ndarray, 'h w'], bool]:
  """Where a mask is above 0.5, and whether it holds anything but 0 and 1."""
  array = _plane(value, where)
  if array.shape != shape:
    raise DataError(f'{where} has shape {array.shape} but its image has shape {shape}.')
  if array.min() < 0 or array.max() > 1:
    raise DataError(f'{where} has values from {array.min():g} to {array.max():g}, not 0 to 1.')
  return array > 0.5, not np.isin(array, (0, 1)).all()


def _case(series: Any, where: str) -> str:
  case = str(series).split('_', 1)[0].strip()
  if not isinstance(series, str) or not case:
    raise DataError(f'{where} has the series_uid {series!r}, which names no case.')
  return case


def _file_name(number: int, key: Any) -> str:
  """A name that is unique, sorts in the order of the pickle, and is safe as a file name."""
  return f'{number:05d}_{re.sub(r"[^A-Za-z0-9.-]+", "-", str(key))[:80]}'.rstrip('.-_')


def _top(slices: list[Slice], source: object) -> int:
  """The intensity that is white, 1 or 255, of the whole set."""
  low = min(item.image.min() for item in slices)
  high = max(item.image.max() for item in slices)
  if low < 0 or high > 255:
    raise DataError(f'{source} has intensities from {low:g} to {high:g}, not 0 to 1 or 0 to 255.')
  return 1 if high <= 1 else 255


def _pixels(image: np.ndarray, top: int) -> UInt8[np.ndarray, 'h w'] | UInt16[np.ndarray, 'h w']:
  if top == 255 and (image == np.round(image)).all():
    return image.astype(np.uint8)
  return np.round(image.astype(np.float64) * (65535 / top)).astype(np.uint16)


def _write(folder: pathlib.Path, slices: list[Slice], top: int) -> None:
  raters = [f'rater_{slot + 1}' for slot in range(len(slices[0].masks))]
  for name in ('images', *raters):
    (folder / name).mkdir(parents=True)
  with open(folder / 'manifest.csv', 'w', newline='', encoding='utf-8') as file:
    table = csv.writer(file)
    table.writerow(['image', 'case', *raters])
    for item in tqdm(slices, unit=' slices', disable=not sys.stderr.isatty()):
      cells = [f'{place}/{item.name}.png' for place in ('images', *raters)]
      Image.fromarray(_pixels(item.image, top)).save(folder / cells[0])
      for cell, mask in zip(cells[1:], item.masks, strict=True):
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / cell)
      table.writerow([cells[0], item.case, *cells[1:]])


def main(_: list[str]) -> int:
  """Returns the exit status: 0, or 2 for bad input."""
  if not _PICKLE.value or not _TO.value:
    print('error: give --pickle and --png.', file=sys.stderr)
    return 2
  try:
    counts = convert(_PICKLE.value, _TO.value)
  except (DataError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  print(', '.join(f'{count} {name}' for name, count in counts.items()), f'in {_TO.value}')
  return 0


if __name__ == '__main__':
  app.run(main)
