"""A file of decisions made by hand where the rules of this reader do not suit."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri.annotations import Annotation


class Overrides(NamedTuple):
  """By series UID: the annotation file to use, and groups of annotations that are one nodule."""

  files: Mapping[str, str] = {}
  nodules: Mapping[str, Sequence[Sequence[str]]] = {}


def read_overrides(path: str | os.PathLike | None) -> Overrides:
  """Reads ``{"files": {uid: "069.xml"}, "nodules": {uid: [["0/Nodule 001", "1/127364"], ...]}}``.

  An annotation is named by its session, counted from 0, and its nodule identifier.

  Raises:
    DataError: when the file is no JSON of this form.
  """
  if path is None:
    return Overrides()
  try:
    data = json.loads(pathlib.Path(path).read_text())
  except (OSError, ValueError) as error:
    raise DataError(f'The overrides {path} cannot be read ({error}).') from error
  if not _is_valid(data):
    raise DataError(
      f'The overrides {path} have another form than {{"files": {{uid: name}}, "nodules": '
      '{uid: [["session/identifier", ...], ...]}}.'
    )
  return Overrides(data.get('files', {}), data.get('nodules', {}))


def _is_valid(data: Any) -> bool:
  if not isinstance(data, dict) or not set(data) <= {'files', 'nodules'}:
    return False
  files, nodules = data.get('files', {}), data.get('nodules', {})
  if not isinstance(files, dict) or not isinstance(nodules, dict):
    return False
  names = [name for groups in nodules.values() if isinstance(groups, list) for name in groups]
  return (
    all(isinstance(name, str) for name in files.values())
    and all(isinstance(groups, list) for groups in nodules.values())
    and all(isinstance(group, list) for group in names)
    and all(isinstance(name, str) for group in names for name in group)
  )


def fixed_groups(
  groups: Sequence[Sequence[str]], annotations: Sequence[Annotation], where: str
) -> list[list[int]]:
  """The groups as indices of annotations.

  Raises:
    DataError: when a name is unknown or stands for several annotations, or occurs twice.
  """
  names = [f'{annotation.session}/{annotation.name}' for annotation in annotations]
  wanted = [name for group in groups for name in group]
  for name in wanted:
    if names.count(name) != 1 or wanted.count(name) != 1:
      raise DataError(f'The overrides of {where} name {name!r}, which is not one annotation of it.')
  return [[names.index(name) for name in group] for group in groups if group]
