"""The flags that name a source of data, for the commands that need no training config."""

import json
from typing import Any

from absl import flags

from multirater_jax.data.errors import DataError
from tfds_builders import BUILDERS

DATA_DIR = flags.DEFINE_string('data_dir', 'data_cache', 'Where prepared sets lie.')
_DATASET = flags.DEFINE_string('dataset', None, 'Name of the data set, such as lidc_idri.')
_MANUAL_DIR = flags.DEFINE_string('manual_dir', None, 'The folder of the download.')
_OPTION = flags.DEFINE_multi_string(
  'option', [], 'An option of the data set, key=value; may be repeated.'
)


def dataset(default: str | None = None) -> str:
  """The name of the data set.

  Raises:
    DataError: when it is not given.
  """
  if not _DATASET.value and default is None:
    raise DataError(f'Give --dataset=NAME; there are {", ".join(sorted(BUILDERS))}.')
  return _DATASET.value or default


def options() -> dict[str, Any]:
  """The options given; values are JSON, anything else is a text.

  Raises:
    DataError: for an option that is not of the form key=value, or given twice.
  """
  found = {} if _MANUAL_DIR.value is None else {'manual_dir': _MANUAL_DIR.value}
  for pair in _OPTION.value:
    key, equals, value = pair.partition('=')
    if not key.isidentifier() or not equals:
      raise DataError(f'--option={pair} is not of the form key=value.')
    if key in found:
      raise DataError(f'The option {key} is given twice.')
    found[key] = _value(value)
  return found


def _value(text: str) -> Any:
  try:
    return json.loads({'True': 'true', 'False': 'false', 'None': 'null'}.get(text, text))
  except ValueError:
    return text
