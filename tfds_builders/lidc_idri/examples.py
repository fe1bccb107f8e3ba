"""The records of one scan."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from tfds_builders import record
from tfds_builders.lidc_idri.nodules import Nodule
from tfds_builders.lidc_idri.presets import (
  PRESETS,
  WINDOWS,
  crop,
  native_origin,
  resample,
  to_gray,
)
from tfds_builders.lidc_idri.series import Series

Pixels = Callable[[int], Float32[np.ndarray, 'h w']]  # slice number -> Hounsfield units
Cut = tuple[Float32[np.ndarray, 'h w'], list[Bool[np.ndarray, 'h w']], tuple[float, float]]


class Scan(NamedTuple):
  """One read CT series."""

  label: str  # first part of the names of its records
  series: Series
  nodules: Sequence[Nodule]
  sessions: int  # that read it
  pixels: Pixels


class Style(NamedTuple):
  """What a user chooses of a record; see ``Config`` of the builder."""

  preset: str
  window: str
  presence: str
  slots: int
  min_raters: int
  include_outline: bool
  bits: int


def examples(scan: Scan, style: Style) -> Iterator[dict[str, Any]]:
  """Every record of a scan.

  A crop shows one nodule: slot k holds the k-th session that outlined it, and after those, where
  the style counts readers of the scan, the sessions that did not. A whole slice holds all nodules:
  slot k is session k. Sessions beyond the number of slots are left out.
  """
  # Nodules share slices. What is kept belongs to this reading: a file may change until the next.
  scan = scan._replace(pixels=functools.lru_cache(maxsize=64)(scan.pixels))
  return _slices(scan, style) if PRESETS[style.preset].size is None else _crops(scan, style)


def _crops(scan: Scan, style: Style) -> Iterator[dict[str, Any]]:
  for order, nodule in enumerate(scan.nodules):
    sessions = nodule.raters
    if style.presence == 'scan':
      sessions += [number for number in range(scan.sessions) if number not in sessions]
    sessions = sessions[: style.slots]
    for step, number in enumerate(nodule.slices):
      drawn = [bool(nodule.outlined(session, number)) for session in sessions]
      if sum(drawn) >= style.min_raters:
        cut = _native if PRESETS[style.preset].spacing is None else _resampled
        image, masks, spacing = cut(scan, nodule, number, sessions, style)
        name = f'{scan.label}_n{order}_s{step}'
        yield _encode(image, masks, drawn, style, case=scan.series.patient, name=name, mm=spacing)


def _native(scan: Scan, nodule: Nodule, number: int, sessions: Sequence[int], style: Style) -> Cut:
  size = PRESETS[style.preset].size
  whole = scan.pixels(number)
  origin = native_origin(nodule.center, size, whole.shape)
  window = {'shape': (size, size), 'origin': origin, 'include_outline': style.include_outline}
  masks = [nodule.mask(session, number, **window) for session in sessions]
  return crop(whole, origin, size), masks, scan.series.spacing


def _resampled(
  scan: Scan, nodule: Nodule, number: int, sessions: Sequence[int], style: Style
) -> Cut:
  preset = PRESETS[style.preset]
  whole = scan.pixels(number)
  ratio = tuple(preset.spacing / length for length in scan.series.spacing)
  image, *masks = (
    resample(plane, nodule.center, ratio, preset.size)
    for plane in (
      whole,
      *(
        nodule.mask(session, number, shape=whole.shape, include_outline=style.include_outline)
        for session in sessions
      ),
    )
  )
  return image, masks, (preset.spacing, preset.spacing)


def _slices(scan: Scan, style: Style) -> Iterator[dict[str, Any]]:
  series, sessions = scan.series, range(min(scan.sessions, style.slots))
  for number, item in enumerate(series.slices):
    here = [nodule for nodule in scan.nodules if number in nodule.slices]
    drawn = [any(nodule.outlined(session, number) for nodule in here) for session in sessions]
    if sum(drawn) >= style.min_raters:
      window = {'shape': item.geometry.shape, 'include_outline': style.include_outline}
      empty = np.zeros(item.geometry.shape, dtype=np.bool_)
      masks = [
        sum((nodule.mask(session, number, **window) for nodule in here), empty)
        for session in sessions
      ]
      name = f'{scan.label}_s{number}'
      image = scan.pixels(number)
      yield _encode(image, masks, drawn, style, case=series.patient, name=name, mm=series.spacing)


def _encode(
  image: Float32[np.ndarray, 'h w'],
  masks: Sequence[Bool[np.ndarray, 'h w']],
  drawn: Sequence[bool],
  style: Style,
  *,
  case: str,
  name: str,
  mm: tuple[float, float],
) -> dict[str, Any]:
  gray = to_gray(image, WINDOWS[style.window], style.bits)
  slots = np.zeros((style.slots, *gray.shape), dtype=np.uint8)
  annotated = np.zeros(style.slots, dtype=np.bool_)
  if masks:
    slots[: len(masks)] = masks
    annotated[: len(masks)] = drawn if style.presence == 'slice' else True
  return record.encode(
    image=gray[..., None], masks=slots, annotated=annotated, case=case, name=name, spacing=mm
  )
