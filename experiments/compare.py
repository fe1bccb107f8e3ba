"""Run several methods on one data set, each to its end or from where it stopped, and compare them.

  python -m experiments.compare --data=phantom --methods=prob_unet,harmonized,dpersona

Every run lies in <workdir>/<method>; arguments after ``--`` go to every run, such as
``-- --config.data.manual_dir=FOLDER``. Ends with comparison.md, comparison.json and comparison.png
in <workdir>. Runs that are finished are read, not repeated.
"""

import subprocess
import sys
from pathlib import Path

from absl import flags

from experiments import command
from multirater_jax import comparison
from multirater_jax.data.errors import DataError
from multirater_jax.methods import METHODS
from multirater_jax.report import figures, page
from multirater_jax.workdir import write_json, write_text

_CONFIGS = Path(__file__).parent / 'configs'
_METHODS = flags.DEFINE_list('methods', sorted(METHODS), 'Names of configs.')
_DATA = flags.DEFINE_string('data', 'phantom', 'What follows the colon of --config.')
_REFERENCE = flags.DEFINE_string('reference', 'prob_unet', 'Differences are taken to this method.')
flags.declare_key_flag('workdir')
_SHOWN = ('ged', 'dice_soft', 'dice_max', 'dice_rater', 'dice_rater_gap', 'ece')


def run(overrides: list[str]) -> int:
  """Trains what is not finished, then writes and prints the comparison."""
  methods, folder = _METHODS.value, Path(command.WORKDIR.value or f'runs/compare-{_DATA.value}')
  unknown = [name for name in methods if not (_CONFIGS / f'{name}.py').is_file()]
  if unknown or len(methods) < 2:
    known = ', '.join(sorted(METHODS))
    raise DataError(f'--methods={",".join(methods)} must name two or more of {known}.')
  reference = _REFERENCE.value if _REFERENCE.value in methods else methods[0]
  for method in methods:
    _train(method, folder / method, overrides)
  runs = [comparison.read_run(folder / method) for method in methods]
  summary, changes = comparison.table(runs), comparison.differences(runs, reference)
  text = comparison.markdown(summary, changes, reference)
  write_text(folder / 'comparison.md', text)
  write_json(folder / 'comparison.json', summary | {'reference': reference, 'changes': changes})
  page.replace(folder / 'comparison.png', figures.comparison(summary, _SHOWN))
  print(text)
  print(f'Comparison: {(folder / "comparison.md").resolve()}')
  return 0


def _train(method: str, workdir: Path, overrides: list[str]) -> None:
  """Runs the main command in a process of its own, which frees its memory at the end.

  Raises DataError where it fails.
  """
  print(f'-- {method}', flush=True)
  arguments = [f'--config={_CONFIGS / method}.py:{_DATA.value}', f'--workdir={workdir}']
  main = [sys.executable, '-m', 'experiments.main', *arguments, *overrides]
  status = subprocess.run(main, check=False).returncode
  if status:
    raise DataError(
      f'The run of {method} in {workdir} ended with status {status}; the same command goes on '
      'from there.'
    )


if __name__ == '__main__':
  cut = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)
  passed = sys.argv[cut + 1 :]
  sys.argv = sys.argv[:cut]
  command.start(lambda: run(passed))
