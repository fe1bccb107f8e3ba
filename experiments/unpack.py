"""Unpack a downloaded archive (zip, tar, tar.gz) that nobody vouches for.

  python -m experiments.unpack --archive=lidc_crops_val.tar.gz --unpack_to=downloads/val

Links, devices, names that lead out of the folder and archives that unpack to over 200 times their
size are refused; then nothing is left behind.
"""

import sys

from absl import app, flags

from multirater_jax.data.errors import DataError
from tfds_builders.archives import unpack

_ARCHIVE = flags.DEFINE_string('archive', None, 'The archive.')
_TO = flags.DEFINE_string('unpack_to', None, 'The folder to make; it must not exist.')


def main(_: list[str]) -> int:
  """Returns the exit status: 0, or 2 for bad input."""
  if not _ARCHIVE.value or not _TO.value:
    print('error: give --archive and --unpack_to.', file=sys.stderr)
    return 2
  try:
    count = unpack(_ARCHIVE.value, _TO.value)
  except DataError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  print(f'{count} files in {_TO.value}')
  return 0


if __name__ == '__main__':
  app.run(main)
