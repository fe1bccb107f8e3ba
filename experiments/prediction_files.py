"""Which files of other software's predictions belong together, and what they hold."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from multirater_jax.case_rows import PlainCase
from multirater_jax.data.errors import DataError
from tfds_builders import images

Files = dict[str, Path]  # unit -> file


class Found(NamedTuple):
  """Every file by sample or rater, in natural order of the folders' names."""

  units: list[str]
  samples: list[Files]
  raters: dict[str, Files]  # a unit may be absent where the rater did not draw
  personalized: list[Files] | None  # in the order of the raters


class Map(NamedTuple):
  """The content of one file, slices first: [d h w]."""

  path: Path
  values: Shaped[np.ndarray, 'd h w']
  spacing: tuple[float, ...] | None  # mm, d h w
  affine: Float[np.ndarray, '4 4'] | None


def find_folders(
  predictions: Path, masks: Path, personalized: Path | None, *, allow_missing: bool
) -> Found:
  """A folder a sample, a folder a rater; the same file name everywhere is the same unit.

  A folder with the files themselves is one sample (or rater); a ``validation`` folder inside, as
  nnU-Net writes per fold, is looked into. Personalized folders are named as the raters.

  Raises:
    DataError: a folder or a file is missing; the message names the file and its counterpart.
  """
  samples, raters = _groups(predictions), _groups(masks)
  own = None
  if personalized is not None:
    outputs = _groups(personalized)
    if outputs.keys() != raters.keys():
      raise DataError(
        f'{personalized} holds {_listed(outputs)} but the raters of {masks} are '
        f'{_listed(raters)}; name the personalized folders as the raters.'
      )
    own = [outputs[name] for name in raters]
  return _complete(Found([], list(samples.values()), raters, own), allow_missing)


def find_dpersona(folder: Path) -> Found:
  """The flat folder D-Persona saves: ``<n>_pred_s<i>.nii.gz`` beside ``<n>_label_a<j>.nii.gz``.

  Raises:
    DataError: there are no such files, or one of a unit is missing.
  """
  groups: dict[str, dict[str, Files]] = {'pred_s': {}, 'label_a': {}}
  for path in _listing(folder):
    match = re.fullmatch(r'(.+)_(pred_s|label_a)(\d+)', images.stem(path))
    if match:
      groups[match[2]].setdefault(match[3], {})[match[1]] = path
  if not all(groups.values()):
    raise DataError(
      f'{folder} does not hold <n>_pred_s<i> and <n>_label_a<j> files as D-Persona writes them; '
      'use the layout "folders" for other software.'
    )
  samples, raters = (dict(sorted(g.items(), key=_natural_item)) for g in groups.values())
  raters = {f'a{name}': files for name, files in raters.items()}
  return _complete(Found([], list(samples.values()), raters, None), allow_missing=False)


def _complete(found: Found, allow_missing: bool) -> Found:
  """Checks that every unit has its files, and lists the units in natural order."""
  first = found.samples[0]
  for files in [*found.samples, *found.raters.values(), *(found.personalized or [])]:
    for unit in sorted(files.keys() - first.keys()):
      wanted = next(iter(first.values())).parent / files[unit].name
      raise DataError(f'{files[unit]} has no counterpart {wanted}; predict every case.')
  for files in [*found.samples, *(found.personalized or [])]:
    _same_units(first, files)
  for files in () if allow_missing else found.raters.values():
    _same_units(first, files, ' or say --allow_missing where a rater did not draw')
  drawn = set().union(*found.raters.values())
  for unit in sorted(first.keys() - drawn):
    folders = _listed({str(next(iter(files.values())).parent) for files in found.raters.values()})
    raise DataError(f'{first[unit]} has no mask in any of {folders}; add one or leave it out.')
  return found._replace(units=sorted(first, key=_natural))


def _same_units(first: Files, files: Files, advice: str = '') -> None:
  for unit in sorted(first.keys() - files.keys()):
    wanted = next(iter(files.values())).parent / first[unit].name
    raise DataError(f'{first[unit]} has no counterpart {wanted}; add the file{advice}.')


def _groups(folder: Path) -> dict[str, Files]:
  """The files by subfolder, or of the folder itself."""
  if not folder.is_dir():
    raise DataError(f'{folder} is not a folder; give the folder that holds the files.')
  own = _by_stem(folder)
  if own:
    return {folder.name: own}
  groups = {}
  for path in sorted(folder.iterdir(), key=lambda path: _natural(path.name)):
    if path.is_dir() and not path.name.startswith('.'):
      inner = path / 'validation'
      groups[path.name] = _by_stem(path) or (_by_stem(inner) if inner.is_dir() else {})
  groups = {name: files for name, files in groups.items() if files}
  if not groups:
    raise DataError(
      f'{folder} holds no image, nor does a folder in it; images end in '
      f'{", ".join(images.SUFFIXES)}.'
    )
  return groups


def _by_stem(folder: Path) -> Files:
  files: Files = {}
  for path in _listing(folder):
    stem = images.stem(path)
    if stem in files:
      raise DataError(f'{files[stem]} and {path} have one name; keep one of them.')
    files[stem] = path
  return files


def _listing(folder: Path) -> list[Path]:
  if not folder.is_dir():
    raise DataError(f'{folder} is not a folder; give the folder that holds the files.')
  return [p for p in sorted(folder.iterdir()) if images.suffix(p) and not p.name.startswith('.')]


def _natural(name: str) -> list[tuple[int, int | str]]:
  """A sort key that puts sample_2 before sample_10."""
  parts = re.split(r'(\d+)', name)
  return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def _natural_item(item: tuple[str, Files]) -> list[tuple[int, int | str]]:
  return _natural(item[0])


def _listed(names: Mapping | set | Sequence) -> str:
  return ', '.join(sorted(names)) or 'nothing'


def read_unit(found: Found, unit: str, *, num_classes: int, probabilities: bool) -> PlainCase:
  """The arrays of one unit.

  Raises:
    DataError: a file cannot be read, is no mask, or has another shape or affine than the others.
  """
  first = read_map(found.samples[0][unit])

  def stack(groups: Sequence[Files], convert: Callable) -> np.ndarray:
    return np.stack([convert(_like(first, read_map(files[unit]))) for files in groups])

  def prediction(content: Map) -> np.ndarray:
    return to_probs(content, num_classes=num_classes, probabilities=probabilities)

  def mask(content: Map) -> np.ndarray:
    return images.to_classes(content.values, content.path, num_classes)

  drew = np.array([unit in files for files in found.raters.values()])
  drawn = stack([files for files in found.raters.values() if unit in files], mask)
  masks = np.zeros((len(drew), *drawn.shape[1:]), np.uint8)
  masks[drew] = drawn
  own = None if found.personalized is None else stack(found.personalized, prediction)
  samples = stack(found.samples, prediction)
  return PlainCase(str(first.path), samples, masks, drew, own, first.spacing)


def read_map(path: Path) -> Map:
  """A PNG (or other flat image) or a NIfTI volume.

  Raises:
    DataError: the file is damaged, in color, or has more than three axes.
  """
  if images.suffix(path) in images.NIFTI:
    volume = images.read_volume(path)
    sizes = np.linalg.norm(volume.affine[:3, :3], axis=0) if volume.affine is not None else ()
    known = len(sizes) == 3 and np.isfinite(sizes).all() and (sizes > 0).all()
    spacing = (float(sizes[2]), float(sizes[0]), float(sizes[1])) if known else None
    return Map(path, np.moveaxis(volume.voxels, 2, 0), spacing, volume.affine)
  pixels = images.read_pixels(path, path)
  if pixels.ndim == 3 and (pixels != pixels[..., :1]).any():
    raise DataError(f'{path} is a color image; save one value a pixel.')
  return Map(path, pixels[None] if pixels.ndim == 2 else pixels[None, ..., 0], None, None)


def _like(first: Map, content: Map) -> Map:
  if content.values.shape != first.values.shape:
    raise DataError(
      f'{content.path} has shape {_shape(content)} but {first.path} has shape {_shape(first)}; '
      'resample one of them.'
    )
  both = content.affine is not None and first.affine is not None
  if both and not np.allclose(content.affine, first.affine, atol=1e-3):
    raise DataError(
      f'{content.path} and {first.path} have different affines; resample one of them.'
    )
  return content


def _shape(content: Map) -> str:
  return ' x '.join(str(size) for size in content.values.shape)


def to_probs(
  content: Map, *, num_classes: int, probabilities: bool
) -> Float[np.ndarray, 'd h w *k']:
  """Probabilities of the foreground, or of all classes where there are more than two.

  A mask becomes zeros and ones. With ``probabilities`` integers are divided by the largest value
  of their type and fractions are taken as they are.

  Raises:
    DataError: neither a mask nor, where allowed, probabilities.
  """
  values = content.values
  if not probabilities:
    classes = images.to_classes(values, content.path, num_classes)
    one_hot = np.eye(num_classes, dtype=np.float32)[classes]
    return one_hot[..., 1] if num_classes == 2 else one_hot
  if num_classes > 2:
    raise DataError(
      f'{content.path} holds one value a pixel, which cannot be probabilities of {num_classes} '
      'classes; give class numbers without --probabilities.'
    )
  if values.dtype.kind in 'ui':
    return values.astype(np.float32) / np.iinfo(values.dtype).max
  if not (values.min() >= 0 and values.max() <= 1):
    raise DataError(f'{content.path} holds values outside 0 to 1; these are no probabilities.')
  return values.astype(np.float32)
