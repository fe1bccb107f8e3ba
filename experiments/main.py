"""Train, evaluate and report in one command.

python -m experiments.main --config=experiments/configs/harmonized.py
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments import command, config_checks, kernels, memory, run_data, run_files
from experiments.dry_run import dry_run
from multirater_jax import progress, sharding
from multirater_jax.checkpoints import CheckpointError, digest
from multirater_jax.data.errors import DataError
from multirater_jax.evaluate import evaluate
from multirater_jax.experiment import Experiment, open_experiment
from multirater_jax.panels import write_panels
from multirater_jax.report import write as write_report
from multirater_jax.results import is_evaluated, score_table, write_results
from multirater_jax.robustness import write_robustness
from multirater_jax.score_tables import Row
from multirater_jax.step_curve import write_step_curve
from multirater_jax.train import Stopped, best_params, train
from multirater_jax.train_log import NotFiniteError
from multirater_jax.workdir import Lock, WorkdirError

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The config, as FILE[:DATA SET[,SCALE[,STEPS]]].'
)
_MODE = flags.DEFINE_enum(
  'mode', 'train', ['train', 'evaluate', 'report'], 'What to start with; the rest follows.'
)
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'One step of everything; writes no run.')
_PRINT_CONFIG = flags.DEFINE_bool('print_config', False, 'Print the resolved config and end.')
_ALLOW = flags.DEFINE_bool('allow_config_change', False, 'Go on with a run under a changed config.')
_DISTRIBUTED = flags.DEFINE_enum(
  'distributed', 'auto', sharding.MODES, 'Join the processes of a multi-host job.'
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'host:port of process 0, where not announced.'
)
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'Processes of the job.')
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Number of this process, from 0.')
flags.declare_key_flag('workdir')

_EXPECTED = (config_checks.ConfigError, DataError, CheckpointError, WorkdirError, NotFiniteError)


def main(_: Sequence[str]) -> int:
  """Returns the exit status: 0 done or out of budget, 2 bad input, 128 + n after signal n."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  try:
    return run(_CONFIG.value)
  except Stopped as stopped:
    print(f'Stopped: {stopped}. The state is saved; the same command goes on from there.')
    return stopped.code
  except KeyboardInterrupt:
    print('Stopped: interrupted outside of training; the same command goes on.')
    return 130
  except _EXPECTED as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


def run(config: ConfigDict) -> int:
  """Does what the flags ask for."""
  if _PRINT_CONFIG.value:
    print(config)
    return 0
  config_checks.check_config(config)
  kernels.choose(config.model.get('dtype'))
  join_processes(config)
  config_checks.check_devices(config)
  workdir = (
    Path(command.WORKDIR.value) if command.WORKDIR.value else run_files.default_workdir(config)
  )
  if _MODE.value == 'report':
    return report(workdir)
  run_files.check_unchanged(config, workdir, allow=_ALLOW.value)
  experiment = open_experiment(config, workdir, run_data.prepare_data(config))
  run_files.check_same_data(experiment, allow=_ALLOW.value)
  config_checks.check_methods(experiment)
  if _DRY_RUN.value:
    dry_run(experiment)
    return 0
  with Lock(workdir) if jax.process_index() == 0 else contextlib.nullcontext():
    return train_and_evaluate(experiment)


def join_processes(config: ConfigDict) -> None:
  """Joins the other processes of the job, if there are any; their configs must be the same."""
  try:
    sharding.start(
      _DISTRIBUTED.value,
      coordinator=_COORDINATOR.value,
      num_processes=_NUM_PROCESSES.value,
      process_id=_PROCESS_ID.value,
    )
    sharding.assert_same(config.to_json_best_effort())
  except ValueError as error:
    raise config_checks.ConfigError(str(error)) from error


def train_and_evaluate(experiment: Experiment) -> int:
  """Everything after the checks; a finished run is only reported again."""
  workdir, stages = experiment.workdir, experiment.config.stages
  if jax.process_index() == 0:
    run_files.write_run_files(experiment)
  if _MODE.value == 'train':
    params = train(experiment)
  else:
    params = {stage: best_params(experiment, stage) for stage in stages}
  parameters = {stage: digest(params[stage]) for stage in stages}
  if _MODE.value == 'evaluate' or not is_evaluated(experiment, parameters):
    (workdir / 'evaluation').mkdir(exist_ok=True)
    rows = scores(experiment, params)
    if jax.process_index() == 0:
      write_panels(experiment, params, rows)
      write_results(experiment, rows, parameters)
  if jax.process_index() != 0:
    return 0
  for stage, value in parameters.items():
    print(f'Parameters of stage {stage}: sha256 {value}')
  return report(workdir)


def scores(experiment: Experiment, params: dict[str, Any]) -> list[Row]:
  """The scores of the test part; robustness and sampler steps are written where asked for."""
  options, stages = experiment.config.evaluation, experiment.config.stages
  with progress.lines():
    rows = evaluate(experiment, params, samples=run_data.true_process(experiment))
    if options.robustness_records:
      write_robustness(experiment, stages[0], params[stages[0]])
    if options.step_counts:
      write_step_curve(experiment, stages[-1], params[stages[-1]])
  return rows


def report(workdir: Path) -> int:
  """Writes the report, prints the score table and where the report lies."""
  try:
    path = write_report(workdir)
  except ValueError as error:
    raise WorkdirError(str(error)) from error
  print(score_table(json.loads((workdir / 'evaluation' / 'summary.json').read_text())['rows']))
  print(f'Report: {path.resolve()}')
  return 0


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the command line; a mistake is one sentence and exit status 2."""
  return command.parse_flags(argv, config_checks.check_overrides)


if __name__ == '__main__':
  memory.keep_freed()
  app.run(main, flags_parser=parse_flags)
