"""LIDC-IDRI from the archive's own files: CT series in DICOM and reading sessions in XML."""

import collections
import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float32

from multirater_jax.data.errors import DataError
from tfds_builders import parallel, record, sources
from tfds_builders.counts import write as write_counts
from tfds_builders.lidc_idri import counts as census
from tfds_builders.lidc_idri.annotations import Reading
from tfds_builders.lidc_idri.dicom import read_hounsfield
from tfds_builders.lidc_idri.download import Download, files_below, read_download, tolerated
from tfds_builders.lidc_idri.examples import Scan, Style, examples
from tfds_builders.lidc_idri.nodules import find_nodules
from tfds_builders.lidc_idri.overrides import Overrides, read_overrides
from tfds_builders.lidc_idri.presets import PRESENCES, PRESETS, WINDOWS
from tfds_builders.lidc_idri.series import Series, stack

WANTED = 'the folder of the LIDC-IDRI download'
ADVICE = 'Download the collection from TCIA (images and annotations) and give its folder.'

counts_table = census.table

# Counts, by the start of their names, that say that something is odd or not used.
_NOTED = ('odd', 'xml skipped', 'xml repeated', 'series without', 'annotations without', 'files of')

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Options of ``configure``, with the preset's values filled in."""

  roots: tuple[str, ...] = dataclasses.field(metadata={'hashed': False})
  overrides: str | None = None
  preset: str
  window: str
  presence: str
  slots: int
  min_raters: int
  include_outline: bool
  tolerance: float | None
  bits: int
  strict: bool

  @property
  def style(self) -> Style:
    """The options that concern a record."""
    return Style(*(getattr(self, field) for field in Style._fields))


def configure(
  manual_dir: str | os.PathLike | None = None,
  *,
  xml_dir: str | os.PathLike | None = None,
  preset: str = 'native128',
  window: str | None = None,
  presence: str | None = None,
  min_raters: int | None = None,
  slots: int = 4,
  include_outline: bool = False,
  tolerance: float | None = None,
  overrides: str | os.PathLike | None = None,
  bits: int = 8,
  strict: bool = True,
) -> Config:
  """The builder's config.

  Args:
    manual_dir: any folder above the CT series; the annotation files may lie beside them.
    xml_dir: another folder with the annotation files.
    preset: 'native128', 'kohl' or 'volume', see ``presets``; it decides what follows where None.
    window: 'lung' (-1000 to 400 HU), 'mediastinum' (-160 to 240), 'own' (each record's extremes).
    presence: when a slot counts as annotated: its session outlined the 'slice', the 'nodule', or
      read the 'scan'.
    min_raters: slots that outlined the slice, at least.
    slots: masks of a record; sessions beyond are left out.
    include_outline: take the outline's own pixels as part of the nodule. They are not.
    tolerance: mm between outlines of one nodule; None takes the distance of the slices.
    overrides: a file of decisions made by hand, see ``overrides``.
    bits: 8 or 16 of a gray value.
    strict: raise at a broken file or series; else count it and pass over the rest of the scan.

  Raises:
    DataError: for an unknown value or a missing folder.
  """
  roots = [sources.manual_folder(manual_dir, WANTED, ADVICE)]
  roots += [] if xml_dir is None else [sources.manual_folder(xml_dir, 'the XML folder', ADVICE)]
  for root in roots:
    if not root.is_dir():
      raise DataError(f'{root} is a file; give the folder of the unpacked download.')
  if preset not in PRESETS:
    raise DataError(f'There is no preset {preset!r}; there are {", ".join(PRESETS)}.')
  defaults = PRESETS[preset]
  config = Config(
    name='',
    roots=tuple(map(str, roots)),
    overrides=None if overrides is None else str(pathlib.Path(overrides).expanduser().resolve()),
    preset=preset,
    window=window or defaults.window,
    presence=presence or defaults.presence,
    slots=slots,
    min_raters=defaults.min_raters if min_raters is None else min_raters,
    include_outline=include_outline,
    tolerance=tolerance,
    bits=bits,
    strict=strict,
  )
  _check(config)
  return record.named(config, _source(roots, config.overrides))


def _check(config: Config) -> None:
  if config.window not in WINDOWS:
    raise DataError(f'There is no window {config.window!r}; there are {", ".join(WINDOWS)}.')
  if config.presence not in PRESENCES:
    raise DataError(f'presence is {config.presence!r}, not one of {", ".join(PRESENCES)}.')
  if config.bits not in (8, 16):
    raise DataError(f'bits is {config.bits}; gray values have 8 or 16.')
  if config.slots < 1 or not 0 <= config.min_raters <= config.slots:
    raise DataError(f'{config.slots} slots cannot hold at least {config.min_raters} raters.')
  if config.tolerance is not None and not 0 <= config.tolerance < np.inf:
    raise DataError(f'tolerance is {config.tolerance}; it is a distance in mm.')


def _source(roots: list[pathlib.Path], overrides: str | None) -> str:
  listings = [sources.listing(root, files_below([root])) for root in roots]
  read_overrides(overrides)
  return '\n\n'.join([*listings, pathlib.Path(overrides).read_text() if overrides else ''])


class Builder(tfds.core.GeneratorBasedBuilder):
  """One record a slice of a nodule (or of a scan), one case a patient, slots without identity."""

  VERSION = tfds.core.Version('1.0.0')

  _split_generators = record.only_split

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    return record.info(
      self,
      raters=[f'slot {slot + 1}' for slot in range(config.slots)],
      rater_identity=False,
      num_classes=2,
      channels=1,
      dtype=np.uint8 if config.bits == 8 else np.uint16,
      options={
        **config.style._asdict(),
        'tolerance': config.tolerance,
        'strict': config.strict,
        'overrides': config.overrides is not None,
      },
    )

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    overrides = read_overrides(config.overrides)
    download = read_download(
      map(pathlib.Path, config.roots), chosen=overrides.files, strict=config.strict
    )
    counts: collections.Counter[str] = collections.Counter(download.counts)
    readers = (
      (scan.label, functools.partial(examples, scan, config.style))
      for scan in scans(download, config, overrides, counts)
    )
    for found in parallel.read(readers):
      with tolerated(counts, 'slices', config.strict):
        for example in found:
          yield example['name'], example
          counts['records'] += 1
    _finish(counts, config, self.data_path)


def scans(
  download: Download, config: Config, overrides: Overrides, counts: collections.Counter[str]
) -> Iterator[Scan]:
  """Every series that has both images and annotations; adds to ``counts`` what it finds.

  Raises:
    DataError: when a series is broken and the config is strict.
  """
  both = sorted(set(download.series) & set(download.readings))
  counts['series without annotations'] = len(set(download.series) - set(both))
  counts['annotations without series'] = len(set(download.readings) - set(both))
  stacks: dict[str, list[Series]] = collections.defaultdict(list)
  for uid in both:
    with tolerated(counts, 'series', config.strict):
      series = stack(download.series[uid])
      stacks[series.patient].append(series)
  counts['patients'] = len(stacks)
  for patient, of_patient in sorted(stacks.items()):
    for order, series in enumerate(of_patient):
      label = patient if order == 0 else f'{patient}.{order + 1}'
      with tolerated(counts, 'series', config.strict):
        yield _scan(label, series, download.readings[series.uid], (config, overrides, counts))


def _scan(
  label: str,
  series: Series,
  reading: Reading,
  context: tuple[Config, Overrides, collections.Counter[str]],
) -> Scan:
  config, overrides, counts = context
  nodules, odd = find_nodules(
    reading,
    series,
    tolerance=config.tolerance,
    groups=overrides.nodules.get(series.uid, ()),
  )
  counts.update({f'odd: {name}': number for name, number in odd.items()})
  counts.update(census.nodules_by([len(nodule.sessions) for nodule in nodules]))
  counts.update(
    {
      'scans': 1,
      'annotations': sum(len(nodule.sessions) for nodule in nodules),
      'nodules': len(nodules),
      'nodule slices': sum(len(nodule.slices) for nodule in nodules),
      'marks of small nodules': sum(mark.small_nodule for mark in reading.marks),
      'marks of non-nodules': sum(not mark.small_nodule for mark in reading.marks),
      'slices at one position': series.duplicates,
      'scans with missing slices': int(series.gaps > 0),
    }
  )
  return Scan(label, series, nodules, reading.sessions, functools.partial(_pixels, series))


def _pixels(series: Series, number: int) -> Float32[np.ndarray, 'h w']:
  return read_hounsfield(series.slices[number].header)


def _finish(counts: collections.Counter[str], config: Config, folder: Any) -> None:
  if not counts['records']:
    raise DataError(
      f'{" and ".join(config.roots)} give no record: {counts["scans"]} CT series have annotations, '
      f'{counts["series without annotations"]} have none, {counts["annotations without series"]} '
      f'annotation files have no series. {ADVICE}'
    )
  write_counts(folder, counts)


def entries(config: Config) -> Iterator[record.Entry]:
  """Every scan by name, with the reader of its records; what is odd or broken goes to the log."""
  config = dataclasses.replace(config, strict=False)
  overrides = read_overrides(config.overrides)
  download = read_download(map(pathlib.Path, config.roots), chosen=overrides.files, strict=False)
  counts: collections.Counter[str] = collections.Counter(download.counts)
  for scan in scans(download, config, overrides, counts):
    if scan.series.gaps:
      _log.warning('%s: slices are missing at %d places.', scan.label, scan.series.gaps)
    if scan.series.duplicates:
      _log.warning('%s: %d slices lie where others do.', scan.label, scan.series.duplicates)
    yield scan.label, functools.partial(examples, scan, config.style)
  for name, count in sorted(counts.items()):
    if count and name.startswith(_NOTED):
      _log.warning('%s: %d.', name, count)
  missing = census.PUBLISHED['scans'] - counts['scans']
  if missing > 0:
    _log.warning(
      '%d of %d scans of the collection are not here.', missing, census.PUBLISHED['scans']
    )
