"""Runs exported programs; needs JAX (with flatbuffers) alone, so this file may be copied."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import numpy as np

FORMAT = 1
SIDECAR = 'model.json'


class ExportError(RuntimeError):
  """An exported folder that cannot be used."""


class Exported(NamedTuple):
  """The programs of a folder as functions on arrays; ``facts`` is its ``model.json``."""

  facts: dict[str, Any]
  programs: dict[str, Any]

  def sample(self, image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Class probabilities [b s h w k] of ``facts['num_samples']`` masks; image [b h w c]."""
    return np.asarray(self._run('sample', np.uint32(seed), self._checked(image)))

  def personalize(
    self, image: np.ndarray, style: np.ndarray | None = None, seed: int = 0
  ) -> np.ndarray:
    """Class probabilities [b r h w k]; a row of ``style`` mixes raters, all of them by default."""
    style = np.eye(len(self.facts['raters'])) if style is None else style
    rows, count = np.asarray(style, np.float32), len(self.facts['raters'])
    found = []
    for first in range(0, len(rows), count):  # the program takes so many rows
      part = rows[first : first + count]
      full = np.concatenate([part, part[:1].repeat(count - len(part), axis=0)])
      maps = self._run('personalize', np.uint32(seed), self._checked(image), full)
      found.append(np.asarray(maps)[:, : len(part)])
    return np.concatenate(found, axis=1)

  def _run(self, name: str, *arguments: Any) -> jax.Array:
    if name not in self.programs:
      raise ExportError(f'{self.facts["method"]} was exported without {name}.')
    return self.programs[name].call(*arguments)

  def _checked(self, image: np.ndarray) -> np.ndarray:
    size, channels = self.facts['size'], self.facts['channels']
    if np.shape(image)[1:] != (size, size, channels):
      raise ExportError(f'The image is {np.shape(image)}, but [b {size} {size} {channels}] is due.')
    return np.asarray(image, np.float32)


def load(folder: str | Path) -> Exported:
  """Reads an exported folder.

  Raises ExportError where a file is missing, was changed, or is of another format or too old.
  """
  folder = Path(folder)
  try:
    facts = json.loads((folder / SIDECAR).read_text())
    kept = facts['programs'].items() if facts['format'] == FORMAT else ()
    programs = {name: _program(folder / f'{name}.stablehlo', digest) for name, digest in kept}
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ExportError(f'{folder} holds no exported model ({error}).') from error
  if not programs:
    raise ExportError(f'{folder} has format {facts["format"]}; this reads {FORMAT}. Export again.')
  return Exported(facts, programs)


def _program(path: Path, digest: str) -> Any:
  content = path.read_bytes()
  if hashlib.sha256(content).hexdigest() != digest:
    raise ExportError(f'{path} was changed after its export; export the run again.')
  try:
    return jax.export.deserialize(bytearray(content))
  except Exception as error:  # of many kinds, for programs of other versions
    raise ExportError(
      f'{path} cannot be read by JAX {jax.__version__} ({error}); export the run again.'
    ) from error
