"""Writes a small made-up download: CT series in DICOM with annotation files, for tests.

python -m tfds_builders.lidc_idri.dummy_data /some/new/folder
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pydicom
from jaxtyping import Int16
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = '1.2.826.0.1.3680043.8.498'
SIZE = 160


class Roi(NamedTuple):
  """An outline on a slice, as written in the XML."""

  z: float
  points: Sequence[tuple[Any, Any]]  # row, column
  sop_uid: str = ''
  inclusion: str | None = 'TRUE'


def circle(row: float, column: float, radius: float) -> list[tuple[int, int]]:
  """Neighboring pixels around a disk, first and last the same."""
  angle = np.linspace(0, 2 * np.pi, 400)
  places = np.stack([row + radius * np.sin(angle), column + radius * np.cos(angle)], axis=1)
  points = np.rint(places).astype(int)
  fresh = np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]
  return [tuple(point) for point in points[fresh].tolist()]


def slice_uid(series: str, number: int) -> str:
  """The UID of slice ``number`` of a series."""
  return f'{ROOT}.{series}.{number + 1}'


def write_slice(
  path: pathlib.Path,
  pixels: Int16[np.ndarray, 'h w'],
  *,
  z: float,
  series: str = '7',
  number: int = 0,
  template: pydicom.Dataset | None = None,
  change: Mapping[str, Any] | None = None,
) -> None:
  """One CT slice; ``change`` sets tags (None removes one), ``template`` gives all others."""
  data = pydicom.Dataset() if template is None else pydicom.Dataset(template)
  data.file_meta = pydicom.dataset.FileMetaDataset()
  data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
  data.file_meta.MediaStorageSOPClassUID = CTImageStorage
  data.file_meta.MediaStorageSOPInstanceUID = slice_uid(series, number)
  values = {
    'SOPClassUID': CTImageStorage,
    'SOPInstanceUID': slice_uid(series, number),
    'InstanceNumber': number + 1,
    'ImagePositionPatient': [-100, -100, z],
    'Rows': pixels.shape[0],
    'Columns': pixels.shape[1],
    'PixelData': pixels.astype('<i2').tobytes(),
  }
  if template is None:
    values |= {
      'SeriesInstanceUID': f'{ROOT}.{series}',
      'StudyInstanceUID': f'{ROOT}.1{series}',
      'PatientID': f'LIDC-IDRI-{series.zfill(4)}',
      'Modality': 'CT',
      'SamplesPerPixel': 1,
      'PhotometricInterpretation': 'MONOCHROME2',
      'BitsAllocated': 16,
      'BitsStored': 16,
      'HighBit': 15,
      'PixelRepresentation': 1,
      'PixelSpacing': [0.7, 0.7],
      'ImageOrientationPatient': [1, 0, 0, 0, 1, 0],
      'RescaleSlope': 1,
      'RescaleIntercept': -1024,
    }
  for tag, value in (values | dict(change or {})).items():
    if value is None:
      data.pop(tag, None)
    else:
      setattr(data, tag, value)
  path.parent.mkdir(parents=True, exist_ok=True)
  data.save_as(path, enforce_file_format=True)


def annotation_xml(series_uid: str, sessions: Sequence[Mapping[str, Sequence[Roi]]]) -> str:
  """The text of an annotation file: for every session, the outlines of its nodules by name."""
  body = ''.join(
    f'<readingSession>{"".join(map(_nodule, session.items()))}</readingSession>'
    for session in sessions
  )
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage xmlns="http://www.nih.gov">'
    f'<ResponseHeader><SeriesInstanceUid>{series_uid}</SeriesInstanceUid></ResponseHeader>\n'
    f'{body}</LidcReadMessage>\n'
  )


def _nodule(item: tuple[str, Sequence[Roi]]) -> str:
  name, rois = item
  return (
    f'<unblindedReadNodule><noduleID>{name}</noduleID><characteristics><malignancy>3</malignancy>'
    f'</characteristics>{"".join(map(_roi, rois))}</unblindedReadNodule>\n'
  )


def _roi(roi: Roi) -> str:
  edges = ''.join(
    f'<edgeMap><xCoord>{column}</xCoord><yCoord>{row}</yCoord></edgeMap>'
    for row, column in roi.points
  )
  inclusion = '' if roi.inclusion is None else f'<inclusion>{roi.inclusion}</inclusion>'
  return (
    f'<roi><imageZposition>{roi.z}</imageZposition><imageSOP_UID>{roi.sop_uid}</imageSOP_UID>'
    f'{inclusion}{edges}</roi>'
  )


def write_download(root: pathlib.Path, *, series: str = '7', slices: int = 6) -> pathlib.Path:
  """One patient: a nodule that three of four sessions outlined; returns the series' folder."""
  rng = np.random.default_rng(int(series))
  folder = root / f'LIDC-IDRI-{series.zfill(4)}' / '01-01-2000-NA-NA-1' / f'{series}.000000-NA-2'
  rows, columns = np.mgrid[:SIZE, :SIZE]
  for number in range(slices):
    disk = np.hypot(rows - 70, columns - 90) < 8
    pixels = np.where(disk, 1060, 200) + rng.integers(-20, 20, (SIZE, SIZE))
    path = folder / f'1-{number + 3:03d}.dcm'
    write_slice(path, pixels.astype(np.int16), z=2.5 * number, series=series, number=number)
  sessions = [
    {f'n{session}': [Roi(2.5 * z, circle(70, 90, 7 + session), slice_uid(series, z)) for z in zs]}
    for session, zs in enumerate([(1, 2, 3), (2, 3), (2, 3, 4)])
  ]
  text = annotation_xml(f'{ROOT}.{series}', [*sessions, {}])
  (folder / f'{series.zfill(3)}.xml').write_text(text)
  return folder


if __name__ == '__main__':
  for name in ('7', '8'):
    write_download(pathlib.Path(sys.argv[1]), series=name)
