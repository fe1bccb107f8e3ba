"""Check a download before it is prepared: what is unreadable, missing, double or odd.

  python -m experiments.doctor --dataset=folder --manual_dir=FOLDER

Ends with 0 where nothing was found, 1 where something is most likely wrong, 2 where preparation
would stop.
"""

import sys
from typing import Any

from absl import flags

import tfds_builders
from experiments import command, data_flags
from multirater_jax import progress
from multirater_jax.data.errors import DataError
from tfds_builders import checks, faults

SHOWN = 5  # of the images of a finding

_ALL = flags.DEFINE_bool('all', False, f'List every finding, not {SHOWN} of each kind.')
flags.declare_key_flag('dataset')
flags.declare_key_flag('manual_dir')
flags.declare_key_flag('option')


def run() -> int:
  """Checks, prints a table, returns the status."""
  name, options = data_flags.dataset(), data_flags.options()
  with progress.lines(), faults.collected() as layout:
    try:
      module, config = tfds_builders.configure(name, **options)
    except DataError:
      for text in layout:  # what led to nothing being left
        print(text, file=sys.stderr)
      raise
    if not hasattr(module, 'entries'):
      raise DataError(f'The data set {name} is made, not read: there is nothing to check.')
    strict = getattr(config, 'strict', True)
    report = checks.check(module.entries(config), strict=strict, layout=layout)
  print(f'{name}: {chosen(config)}')
  print(table(report, None if _ALL.value else SHOWN))
  return report.status


def chosen(config: Any) -> str:
  """The options in effect, found layout included."""
  names = type(config).__annotations__
  return ', '.join(f'{name}={getattr(config, name)}' for name in names)


def table(report: checks.Report, shown: int | None = SHOWN) -> str:
  """The findings as lines, the worst first, with the first few places of each."""
  order = (checks.BROKEN, checks.FINDING, checks.NOTE, checks.FINE)
  lines = [f'read {report.records:,} records of {report.cases:,} cases']
  for finding in sorted(report.findings, key=lambda one: order.index(one.level)):
    count = f'{finding.count:,}' if finding.count else ''
    lines.append(f'{finding.level:8}{count:>8}  {finding.check}')
    lines += [f'{"":18}{text}' for text in finding.examples[:shown]]
    if shown is not None and finding.count > shown:
      lines.append(f'{"":18}and {finding.count - shown:,} more (--all lists them)')
  words = ('nothing wrong was found', 'look at the findings', 'preparation would stop')
  return '\n'.join([*lines, f'result: {words[report.status]}'])


if __name__ == '__main__':
  command.start(run)
