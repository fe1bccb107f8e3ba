"""Check a download before it is prepared: what is unreadable, missing, double or odd.

  python -m experiments.doctor --dataset=folder --manual_dir=FOLDER

Ends with 0 where nothing was found, 1 where something is most likely wrong, 2 where preparation
would stop.
"""

from absl import flags

import tfds_builders
from experiments import command
from multirater_jax.data.errors import DataError
from tfds_builders import checks, progress

SHOWN = 5  # of the images of a finding

_DATASET = flags.DEFINE_string('dataset', None, 'Its name, such as lidc_idri.', required=True)
_MANUAL_DIR = flags.DEFINE_string('manual_dir', None, 'The folder of the download.')
_OPTION = flags.DEFINE_multi_string(
  'option', [], 'An option of the data set, key=value; may be repeated.'
)
_ALL = flags.DEFINE_bool('all', False, f'List every finding, not {SHOWN} of each kind.')


def run() -> int:
  """Checks, prints a table, returns the status."""
  options = command.options(_OPTION.value, _MANUAL_DIR.value)
  module, config = tfds_builders.configure(_DATASET.value, **options)
  if not hasattr(module, 'entries'):
    raise DataError(f'The data set {_DATASET.value} is made, not read: there is nothing to check.')
  with progress.lines():
    report = checks.check(module.entries(config), strict=getattr(config, 'strict', True))
  print(table(report, None if _ALL.value else SHOWN))
  return report.status


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
  words = ('nothing was found', 'look at the findings', 'preparation would stop')
  return '\n'.join([*lines, f'result: {words[report.status]}'])


if __name__ == '__main__':
  command.start(run)
