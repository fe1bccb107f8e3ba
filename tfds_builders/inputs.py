"""New images to predict: files, NIfTI volumes and DICOM series, scaled as in a data set.

An input is found first and read when its turn comes, so one broken file stops no other.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import nibabel
import numpy as np
from jaxtyping import Float, Shaped

from multirater_jax.data.errors import DataError
from tfds_builders import images
from tfds_builders.lidc_idri import dicom, presets, series


class Scan(NamedTuple):
  """An image or a volume as a data set would store it, with where it lies in the patient."""

  planes: Shaped[np.ndarray, 'd h w c']
  spacing: tuple[float, float] | None = None  # mm, row and column
  thickness: float | None = None  # mm from slice to slice
  nifti: nibabel.Nifti1Image | None = None  # the file, or for a series the grid it would have
  slices: tuple[pathlib.Path, ...] = ()  # the files of a series, in the order of the planes
  notes: tuple[str, ...] = ()


class Input(NamedTuple):
  """Something to predict: its name, and what reads it (which may raise ``DataError``)."""

  name: str
  path: pathlib.Path
  read: Callable[[], Scan]


def find(path: pathlib.Path, data: Mapping[str, Any]) -> list[Input]:
  """The images of a file or folder; ``data`` is ``config.data`` of the run that predicts them.

  A folder is searched with all below it; its DICOM files make one input a CT series.

  Raises:
    DataError: when there is nothing to predict, or the outputs of two inputs would collide.
  """
  if not path.exists():
    raise DataError(f'--input={path} does not exist; give an image, a volume or a folder.')
  files = sorted(p for p in path.rglob('*') if p.is_file()) if path.is_dir() else [path]
  root = path if path.is_dir() else path.parent
  found = [_file(file, root, data) for file in files if images.suffix(file)]
  found += _series([file for file in files if not images.suffix(file)], path, data)
  if not found:
    known = ', '.join(images.SUFFIXES)
    raise DataError(f'--input={path} holds no image ({known}) and no DICOM series of CT.')
  names = [one.name for one in found]
  if twice := next((name for name in names if names.count(name) > 1), None):
    raise DataError(f'--input={path} holds two images called {twice}; rename one of them.')
  _check_nesting(path, set(names))
  return found


def _check_nesting(path: pathlib.Path, names: set[str]) -> None:
  """The output of an image is a folder; another image's must not lie inside of it."""
  for name in names:
    for parent in pathlib.PurePosixPath(name).parents:
      if str(parent) in names:
        raise DataError(
          f'--input={path} holds an image and a folder called {parent}; rename one of them.'
        )


def _file(file: pathlib.Path, root: pathlib.Path, data: Mapping[str, Any]) -> Input:
  name = (file.relative_to(root).parent / images.stem(file)).as_posix()
  read = _read_nifti if images.suffix(file) in images.NIFTI else _read_flat
  return Input(name, file, functools.partial(read, file, data))


def _read_flat(file: pathlib.Path, data: Mapping[str, Any]) -> Scan:
  pixels = images.read_image(file, file)
  window = data['options'].get('window') if data['name'] == 'folder' else None
  if pixels.dtype == np.float32 or (window and pixels.dtype == np.uint16):
    pixels = images.to_unit(pixels, file, window and tuple(window))
  return Scan(pixels[None])


def _read_nifti(file: pathlib.Path, data: Mapping[str, Any]) -> Scan:
  """A file of two or three axes; a fourth axis holds channels."""
  volume = images.read_nifti(file)
  shape = volume.voxels.shape
  if not 2 <= len(shape) <= 4:
    raise DataError(f'{file} has shape {shape}; two or three axes, and channels, can be predicted.')
  channels = shape[3] if len(shape) == 4 else 1
  voxels = volume.voxels.reshape(*shape[:2], -1, channels)
  planes = _scaled(np.moveaxis(voxels, 2, 0), file, data)
  header = nibabel.load(file)
  zooms = header.header.get_zooms()
  notes = () if volume.oriented else ('The file has no orientation; its axes count as they are.',)
  thickness = float(zooms[2]) if len(zooms) > 2 else None
  return Scan(planes, volume.spacing, thickness, header, notes=notes)


def _scaled(
  planes: Shaped[np.ndarray, 'd h w c'], name: object, data: Mapping[str, Any]
) -> Shaped[np.ndarray, 'd h w c']:
  """Intensities as the data set would have stored them."""
  options = data['options']
  if data['name'] in ('lidc_idri', 'lidc_slices'):
    preset = presets.PRESETS[options.get('preset') or 'native128']
    window = presets.WINDOWS[options.get('window') or preset.window]
    return np.stack([presets.to_gray(plane, window, options.get('bits') or 8) for plane in planes])
  if data['name'] == 'npc' and options.get('intensity') != 'percentiles':
    low, high = float(planes.min()), float(planes.max())
    if low >= 0 and high <= 1:
      return planes.astype(np.float32)
  window = options.get('window')
  channels = [
    images.to_unit(planes[..., c], name, window and tuple(window)) for c in range(planes.shape[-1])
  ]
  return np.stack(channels, axis=-1)


def _series(files: list[pathlib.Path], path: pathlib.Path, data: Mapping[str, Any]) -> list[Input]:
  """One input a CT series of the files that are DICOM; one that fails for each with no header."""
  headers, broken = [], []
  for file in filter(dicom.is_dicom, files):
    try:
      headers.append(dicom.read_header(file))
    except DataError as error:
      broken.append(Input(file.name, file, functools.partial(_fail, error)))
  groups = series.by_series(headers)
  name = path.stem if path.is_file() else path.name
  return broken + [
    Input(
      name if len(groups) == 1 else uid,
      group[0].path.parent,
      functools.partial(_read_series, group, data),
    )
    for uid, group in sorted(groups.items())
  ]


def _fail(error: DataError) -> Scan:
  raise error


def _read_series(headers: list[dicom.Header], data: Mapping[str, Any]) -> Scan:
  stack = series.stack(headers)
  hounsfield = np.stack([dicom.read_hounsfield(item.header) for item in stack.slices])
  notes = (f'Slices are missing in {stack.gaps} places.',) if stack.gaps else ()
  return Scan(
    _scaled(hounsfield[..., None], stack.slices[0].header.path.parent, data),
    stack.spacing,
    stack.thickness or None,
    nibabel.Nifti1Image(np.zeros((1, 1, 1), np.uint8), _affine(stack)),
    tuple(item.header.path for item in stack.slices),
    notes,
  )


def _affine(stack: series.Series) -> Float[np.ndarray, '4 4']:
  """From (row, column, slice) to mm to the right, front and head, of an axial stack.

  DICOM counts to the left and back, NIfTI to the right and front.
  """
  x, y, z = stack.slices[0].geometry.position
  row, column = stack.spacing
  return np.array(
    [[0, -column, 0, -x], [-row, 0, 0, -y], [0, 0, stack.thickness or 1.0, z], [0, 0, 0, 1]], float
  )
