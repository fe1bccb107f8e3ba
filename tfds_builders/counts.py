"""What a builder counted while it read, kept beside the set as ``counts.json``."""

import collections
import json
import os
import pathlib

NAME = 'counts.json'


def write(folder: str | os.PathLike, counts: collections.Counter[str]) -> None:
  """Writes the counts above zero."""
  text = json.dumps(+counts, indent=2, sort_keys=True) + '\n'
  pathlib.Path(folder, NAME).write_text(text)


def read(folder: str | os.PathLike) -> dict[str, int]:
  """The counts beside a set; none where its builder counts nothing."""
  path = pathlib.Path(folder, NAME)
  return json.loads(path.read_text()) if path.is_file() else {}
