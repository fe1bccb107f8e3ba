"""Prepare a data set once: array_record files, counts, fingerprint and a sheet of pictures.

  python -m experiments.prepare --dataset=lidc_idri --manual_dir=downloads/LIDC-IDRI --jobs=8

Training prepares what it needs by itself; this does it ahead and shows what there is. A run that
was killed is cleaned up by the next one. The set lies below --data_dir in a folder that belongs to
the options and the source: train with the same ones to use it.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags

import tfds_builders
from experiments import command, data_flags
from multirater_jax import progress
from multirater_jax.data import fingerprint
from multirater_jax.data.source import Record, Source
from multirater_jax.report.sheet import Shown, write_sheet
from tfds_builders import notes

SHEET = 'sheet.png'
PICTURES = 16
_PERCENTILES = (0.5, 99.5)  # of each image that the sheet shows as black and white

_JOBS = flags.DEFINE_integer('jobs', 1, 'Processes that read the source; the set is the same.')
flags.adopt_module_key_flags(data_flags)


def run() -> int:
  """Prepares the set and prints what is in it."""
  name, options = data_flags.dataset(), data_flags.options()
  with progress.lines(), notes.heard(_say):
    directory = tfds_builders.prepare(name, data_flags.DATA_DIR.value, jobs=_JOBS.value, **options)
    found = fingerprint.load(directory, _follow)
  if not (directory / SHEET).is_file():
    make_sheet(directory)
  print(describe(found, tfds_builders.counts_text(name, directory)))
  print(f'hash: {found["hash"]}\nset: {directory}\npictures: {directory / SHEET}')
  return 0


def _follow(numbers: Sequence[int]) -> Iterator[int]:
  return progress.follow(numbers, 'records measured', len(numbers))


def _say(text: str, broken: bool) -> None:
  print(f'{"broken" if broken else "note"}: {text}', file=sys.stderr)


def describe(found: dict, counts: str) -> str:
  """The fingerprint in a few lines."""
  raters = ', '.join(found['raters'])
  by = ', '.join(f'{number}: {count:,}' for number, count in found['records_by_raters'].items())
  dice = found['dice']
  lines = [
    f'{found["name"]}: {found["records"]:,} records of {found["cases"]:,} cases',
    f'raters: {raters} ({"persons" if found["rater_identity"] else "no identity"})',
    f'records by number of raters: {by}',
  ]
  if dice['mean'] is not None:
    spread = '' if dice['deviation'] is None else f' (deviation {dice["deviation"]:.3f})'
    lines.append(f'Dice between raters: {dice["mean"]:.3f}{spread}, {dice["images"]:,} images')
  return '\n'.join([*lines, *([counts] if counts else []), found['personalization']])


def make_sheet(directory: Path) -> None:
  """Writes pictures of random cases beside the set; the same set gives the same pictures."""
  source = Source(directory, percentiles=_PERCENTILES, cache_mb=0)
  chosen = choose(source)
  shown = [_shown(source, index) for index in chosen]
  name = f'{source.info.name}: {len(shown)} of {len(source):,} records'
  write_sheet(directory / SHEET, shown, source.raters, title=name)


def choose(source: Source, number: int = PICTURES) -> list[int]:
  """Random records: those that two raters marked first, and of these one a case first."""
  rng = np.random.default_rng(int(source.info.hash[:8], 16))
  seen: dict[str, int] = {}
  ranked = []
  for index in rng.permutation(len(source)):
    record = source.info.records[index]
    seen[record['case']] = seen.get(record['case'], 0) + 1
    marked = sum(bool(area) for area in record['areas'])
    ranked.append((min(marked, 2) < 2, seen[record['case']], int(index)))
  ranked.sort(key=lambda entry: entry[:2])
  return [index for *_, index in ranked[:number]]


def _shown(source: Source, index: int) -> Shown:
  record: Record = source[index]
  low, high = record['limits']
  image = np.clip((record['image'].astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
  title = source.info.records[index]['name']
  return Shown(title, image, record['masks'], record['annotated'])


if __name__ == '__main__':
  command.start(run)
