"""A DICOM segmentation beside its series, with one segment a rater; needs highdicom."""

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import UInt8

from multirater_jax.data.errors import DataError

FILE = 'segmentation.dcm'
_MANUFACTURER, _MODEL = 'multirater_jax', 'experiments.predict'


def is_available() -> bool:
  """Whether highdicom is installed (``pip install 'multirater_jax[dicom]'``)."""
  return importlib.util.find_spec('highdicom') is not None


def write(
  path: Path,
  masks: UInt8[np.ndarray, 'r d h w'],
  names: Sequence[str],
  slices: Sequence[Path],
  *,
  method: str,
) -> None:
  """Writes the foreground of every rater as a binary segment; ``slices`` are in mask order.

  Segments overlap. Empty frames are left out; a rater without any foreground has no segment.

  Raises:
    DataError: when the series lacks what a segmentation must repeat of it.
  """
  import highdicom as hd
  from pydicom.sr.codedict import codes

  version = _version()
  drawn = [number for number, mask in enumerate(masks) if mask.any()]
  if not drawn:
    return
  algorithm = hd.AlgorithmIdentificationSequence(
    name=f'multirater_jax {method}',
    family=codes.DCM.ArtificialIntelligence,
    version=version,
  )
  segments = [
    hd.seg.SegmentDescription(
      segment_number=place,
      segment_label=names[number][:64],
      segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
      segmented_property_type=codes.SCT.Lesion,
      algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
      algorithm_identification=algorithm,
    )
    for place, number in enumerate(drawn, 1)
  ]
  try:
    seg = hd.seg.Segmentation(
      source_images=[pydicom.dcmread(file) for file in slices],
      pixel_array=np.moveaxis((masks[drawn] > 0).astype(np.uint8), 0, -1),
      segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
      segment_descriptions=segments,
      series_instance_uid=hd.UID(),
      series_number=100,
      sop_instance_uid=hd.UID(),
      instance_number=1,
      manufacturer=_MANUFACTURER,
      manufacturer_model_name=_MODEL,
      software_versions=version,
      device_serial_number='0',
      series_description='Masks in the manner of several raters, for research',
    )
    seg.save_as(path)
  except (AttributeError, TypeError, ValueError) as error:
    raise DataError(f'{path.name} cannot be made of this series ({error}).') from error


def _version() -> str:
  try:
    return importlib.metadata.version('multirater_jax')
  except importlib.metadata.PackageNotFoundError:
    return 'not installed'  # run from a checkout
