"""The flags that name a trained run, for the commands that use one."""

from pathlib import Path

from absl import flags

from multirater_jax.data.errors import DataError

STAGE = flags.DEFINE_string('stage', None, 'Stage of the run; the last one where not given.')
SAMPLES = flags.DEFINE_integer('samples', 16, 'Plausible masks an image.', lower_bound=1)
_CHECKPOINT = flags.DEFINE_string('checkpoint', None, 'Folder of the trained run.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder of what is written.')


def checkpoint() -> Path:
  """The folder of the run; DataError where it is not given."""
  return given('checkpoint')


def output() -> Path:
  """The folder of what is written; DataError where it is not given."""
  return given('output')


def given(name: str) -> Path:
  """The path that a flag must give; DataError where it does not."""
  value = flags.FLAGS[name].value
  if not value:
    raise DataError(f'Give --{name}; see --help.')
  return Path(value).expanduser()
