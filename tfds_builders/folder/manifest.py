"""The layout that a table describes: ``manifest.csv`` with a line an image."""

import csv
import io
import pathlib

from multirater_jax.data.errors import DataError
from tfds_builders import faults, images
from tfds_builders.folder.layout import PREFIX, Entry, Found, case_of, drawn, rater_name

NAME = 'manifest.csv'
MAX_BYTES = 2**26
ADVICE = (
  f'Its columns are image, case (may be left out) and {PREFIX}<name> for every rater; cells are '
  'paths relative to its folder, empty where the rater did not draw.'
)


def find_manifest(path: pathlib.Path, case_pattern: str) -> Found:
  """The images and masks of the table, in its order of lines and raters.

  Raises:
    DataError: naming file and line, for whatever does not fit, and for paths out of the folder.
  """
  table = path / NAME
  raters, lines = _read(table)
  entries: dict[str, Entry] = {}
  for number, cells in lines:
    where = f'{table}, line {number}'
    with faults.each():
      entry = _entry(path, cells, raters, (case_pattern, where))
      if entry.name in entries:
        raise DataError(f'{where} has the image {cells["image"]} again; keep one line an image.')
      entries[entry.name] = entry
  kept, notes = drawn(list(entries.values()))
  if not kept:
    raise DataError(f'{table} has no line with a mask. {ADVICE}')
  return Found([rater_name(rater) for rater in raters], kept, rater_identity=True, notes=notes)


def _entry(
  root: pathlib.Path, cells: dict[str, str], raters: list[str], context: tuple[str, str]
) -> Entry:
  case_pattern, where = context
  image = _file(root, cells['image'], where)
  shown = pathlib.PurePosixPath(cells['image'].strip())
  name = (shown.parent / images.stem(shown)).as_posix()
  masks = [
    _file(root, cells[PREFIX + rater], where) if cells[PREFIX + rater].strip() else None
    for rater in raters
  ]
  return Entry(name, _case(cells, name, case_pattern, where), image, masks)


def _case(cells: dict[str, str], name: str, case_pattern: str, where: str) -> str:
  if 'case' not in cells:
    return case_of(name, case_pattern)
  if not cells['case'].strip():
    raise DataError(f'{where} has no case; fill the column or leave it out.')
  return case_of(cells['case'].strip(), case_pattern)


def _read(table: pathlib.Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
  """The raters and the lines as dicts from column to cell, with line numbers."""
  if not table.is_file():
    raise DataError(f'{table} was looked for and is not there. {ADVICE}')
  if table.stat().st_size > MAX_BYTES:
    raise DataError(f'{table} is larger than {MAX_BYTES} bytes; it is no table of paths.')
  text = images.read(lambda: table.read_text(encoding='utf-8-sig'), table)
  if '\0' in text:
    raise DataError(f'{table} is no text file. {ADVICE}')
  reader = csv.reader(io.StringIO(text, newline=''), strict=True)
  try:
    rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
  except csv.Error as error:
    raise DataError(f'{table}, line {reader.line_num}: {error}.') from error
  if not rows:
    raise DataError(f'{table} is empty. {ADVICE}')
  columns = [column.strip() for column in rows[0][1]]
  raters = _raters(columns, table)
  lines = []
  for number, row in rows[1:]:
    with faults.each():
      if len(row) != len(columns):
        raise DataError(f'{table}, line {number} has {len(row)} cells for {len(columns)} columns.')
      lines.append((number, dict(zip(columns, row, strict=True))))
  return raters, lines


def _raters(columns: list[str], table: pathlib.Path) -> list[str]:
  raters = [column.removeprefix(PREFIX) for column in columns if column.startswith(PREFIX)]
  known = {'image', 'case', *(PREFIX + rater for rater in raters)}
  odd = [column for column in columns if column not in known or columns.count(column) > 1]
  if 'image' not in columns or not raters or not all(raters) or odd:
    shown = ', '.join(map(repr, columns[:8]))
    raise DataError(f'{table} has the columns {shown}. {ADVICE}')
  return raters


def _file(root: pathlib.Path, cell: str, where: str) -> pathlib.Path:
  """The file of a cell, which must lie below the folder of the table."""
  relative = pathlib.PurePosixPath(cell.strip())
  if relative.is_absolute() or '..' in relative.parts:
    raise DataError(f'{where}: {cell!r} leads out of the folder; use paths below {root}.')
  if not images.suffix(relative):
    raise DataError(f'{where}: {cell!r} is none of {", ".join(images.SUFFIXES)}.')
  path = root / relative
  try:
    there = path.is_file()
  except OSError as error:
    raise DataError(f'{where}: {error.strerror}: {cell[:80]!r}.') from error
  if not there:
    raise DataError(f'{where}: there is no file {path}.')
  return path
