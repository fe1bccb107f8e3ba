"""What the command lines share: a wrong flag and bad input end with one sentence and status 2."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from multirater_jax.data.errors import DataError

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run, or of what is written.')
SEED = flags.DEFINE_integer('seed', 0, 'Of what the command draws.', lower_bound=0)


def parse_flags(
  argv: Sequence[str], check: Callable[[Sequence[str]], None] = lambda _: None
) -> list[str]:
  """Parses the command line after ``check``; a mistake is one sentence and exit status 2."""
  try:
    check(argv)
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
    sys.exit(2)


def start(run: Callable[[], int]) -> None:
  """Parses the flags, runs, and ends with the status of ``run``, or 2 after a ``DataError``."""
  app.run(lambda argv: main(argv, run), flags_parser=parse_flags)


def main(argv: Sequence[str], run: Callable[[], int]) -> int:
  """Returns the exit status: that of ``run``, 2 bad input, 130 interrupted."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  try:
    if len(argv) > 1:
      raise DataError(f'{argv[1]} is no flag; see --help.')
    return run()
  except (DataError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('Interrupted; the same command starts over.', file=sys.stderr)
    return 130
