"""Where the files of a set that the user brings are looked for."""

import os
import pathlib
from collections.abc import Iterable

from multirater_jax.data.errors import DataError


def manual_folder(manual_dir: str | os.PathLike | None, wanted: str, advice: str) -> pathlib.Path:
  """The user's path, which must exist; ``wanted`` and ``advice`` complete the error's sentence."""
  if not manual_dir:
    raise DataError(f'This data set needs manual_dir, the path of {wanted}. {advice}')
  path = pathlib.Path(manual_dir).expanduser().resolve()
  if not path.exists():
    raise DataError(f'manual_dir {path} does not exist; {wanted} was looked for. {advice}')
  return path


def listing(root: pathlib.Path, paths: Iterable[pathlib.Path]) -> str:
  """Names, sizes and times of files as text: it changes when a file changes."""
  lines = []
  for path in sorted(paths):
    status = path.stat()
    name = path.relative_to(root).as_posix() if path != root else path.name
    lines.append(f'{name} {status.st_size} {status.st_mtime_ns}')
  return '\n'.join(lines)


def contents(folder: pathlib.Path) -> str:
  """The first few names in a folder, for an error message."""
  names = sorted(path.name for path in folder.iterdir() if not path.name.startswith('.'))
  shown = ', '.join(names[:6]) + (', ...' if len(names) > 6 else '')
  return f'found: {shown}' if names else 'it is empty'
