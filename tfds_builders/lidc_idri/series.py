"""Files of one series as an ordered stack of slices, and where in it an outline lies."""

import collections
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri.dicom import Geometry, Header, geometry

GAP = 1.5  # a gap is a distance above so many times the usual one


class Slice(NamedTuple):
  """One slice of a series."""

  header: Header
  geometry: Geometry

  @property
  def z(self) -> float:
    """Position along the patient in mm."""
    return self.geometry.position[2]


class Series(NamedTuple):
  """A checked stack of parallel slices, from lowest to highest z."""

  uid: str
  study_uid: str
  patient: str
  slices: tuple[Slice, ...]
  spacing: tuple[float, float]  # between rows, between columns, in mm
  thickness: float  # usual distance of slices in mm
  duplicates: int  # files left out because another one lies at their position
  gaps: int  # places where slices are missing


def stack(headers: Iterable[Header]) -> Series:
  """Orders and checks the files of one series, whose names, order and number mean nothing.

  Of files at one position the one with the smallest instance number stays. Missing slices are
  counted, the rest is used.

  Raises:
    DataError: when a file fails ``dicom.geometry``, names no patient, or differs from the others in
      patient, size or spacing.
  """
  slices = [Slice(header, geometry(header)) for header in headers]
  slices.sort(key=lambda item: (item.z, item.header.instance, str(item.header.path)))
  first = slices[0]
  for item in slices:
    _check_alike(first, item)
  kept = [slices[0]]
  for item in slices[1:]:
    if item.z - kept[-1].z > 1e-3:
      kept.append(item)
  steps = np.diff([item.z for item in kept])
  thickness = float(np.median(steps)) if len(steps) else 0.0
  return Series(
    uid=first.header.series_uid,
    study_uid=first.header.study_uid,
    patient=first.header.patient,
    slices=tuple(kept),
    spacing=first.geometry.spacing,
    thickness=thickness,
    duplicates=len(slices) - len(kept),
    gaps=int((steps > GAP * thickness).sum()),
  )


def _check_alike(first: Slice, item: Slice) -> None:
  path = item.header.path
  if not item.header.patient:
    raise DataError(f'{path} names no patient; cases cannot be told apart, get the file again.')
  if item.header.patient != first.header.patient:
    raise DataError(f'{path} and {first.header.path} are one series of two patients; remove one.')
  size, expected = item.geometry, first.geometry
  if size.shape != expected.shape:
    raise DataError(f'{path} has {size.shape} pixels, {first.header.path} of its series others.')
  if not np.allclose(size.spacing, expected.spacing, rtol=1e-4):
    raise DataError(
      f'{path} has a pixel spacing of {size.spacing} mm, {first.header.path} of its series '
      f'{expected.spacing}; a series has one.'
    )


def find_slice(series: Series, z: float, sop_uid: str) -> int | None:
  """The number of the slice an outline belongs to: by its UID, else by z within half a spacing."""
  for index, item in enumerate(series.slices):
    if sop_uid and item.header.sop_uid == sop_uid:
      return index
  distance = np.abs([item.z - z for item in series.slices])
  nearest = int(distance.argmin())
  return nearest if distance[nearest] <= max(series.thickness / 2, 1e-3) else None


def by_series(headers: Iterable[Header]) -> dict[str, list[Header]]:
  """CT files by series UID; other modalities are left out."""
  series: dict[str, list[Header]] = collections.defaultdict(list)
  for header in headers:
    if header.modality == 'CT' and header.series_uid:
      series[header.series_uid].append(header)
  return dict(series)
