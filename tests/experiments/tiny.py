"""The real command on data and networks small enough for a test."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from absl import flags
from absl.testing import flagsaver
from ml_collections import ConfigDict

from experiments import main, run_data
from multirater_jax.experiment import Experiment, open_experiment

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'experiments' / 'configs'

# 24 images of 32x32 everywhere, so that one compiled program serves every data set. What a method's
# config does not have is left out.
_SIZES = {
  'data.size': 32,
  'data.eval_size': 32,
  'data.batch_size': 4,
  'data.eval_batch_size': 8,
  'data.num_threads': 1,
  'data.split.validation': 4,
  'data.split.test': 6,
  'model.trunk.widths': '(8,8)',
  'model.trunk.convs': 1,
  'model.denoiser.widths': '(8,8)',
  'model.encoder_widths': '(8,)',
  'model.encoder_convs': 1,
  'model.latent_dim': 2,
  'model.num_steps': 2,
  'evaluation.num_samples': 2,
  'evaluation.validation_samples': 2,
  'evaluation.robustness_records': 0,
  'evaluation.panels': 3,
}
_STAGE = {
  'log_every': 1,
  'checkpoint_every': 2,
  'optimizer.warmup': 0.0,
  'method.num_loss_samples': 2,
  'method.num_bound_samples': 2,
  'method.bank_size': 4,
}
_PHANTOM = {'data.options.size': 32, 'data.options.num_images': 24}


def arguments(
  workdir: Path,
  data_dir: Path,
  *,
  method: str = 'prob_unet',
  data: str = 'phantom',
  steps: int = 2,
  **more: object,
) -> list[str]:
  """The command line of a tiny run; ``more`` are keys of the config with ``__`` for each dot."""
  config = importlib.import_module(f'experiments.configs.{method}').get_config(data)
  settings = {'data.data_dir': data_dir, **_SIZES}
  settings |= _PHANTOM if data == 'phantom' else {}
  settings |= {'evaluation.step_counts': '(1,2)'} if config.evaluation.step_counts else {}
  for stage in config.stages:
    settings |= {f'stage.{stage}.{key}': value for key, value in _STAGE.items()}
    settings[f'stage.{stage}.steps'] = steps
  settings = {key: value for key, value in settings.items() if _has(config, key)}
  settings |= {key.replace('__', '.'): value for key, value in more.items()}
  path = f'--config={CONFIGS / method}.py:{data}'
  return [path, f'--workdir={workdir}', *(f'--config.{k}={v}' for k, v in settings.items())]


def _has(config: ConfigDict, key: str) -> bool:
  """Whether a config has a key with dots."""
  group, _, rest = key.partition('.')
  return group in config and (not rest or _has(config[group], rest))


def call(argv: list[str]) -> int:
  """The command in this process; returns its exit status."""
  saved = flagsaver.save_flag_values()
  command = ['main', *argv]
  try:
    with mock.patch.object(sys, 'argv', command):  # config_flags looks for overrides there
      return main.main(main.parse_flags(command))
  except SystemExit as end:
    return end.code
  finally:
    flagsaver.restore_flag_values(saved)


def open_run(argv: list[str]) -> Experiment:
  """What the command would train, opened; the flags are left as they were."""
  saved, command = flagsaver.save_flag_values(), ['main', *argv]
  try:
    with mock.patch.object(sys, 'argv', command):
      main.parse_flags(command)
    config, workdir = flags.FLAGS['config'].value, Path(flags.FLAGS['workdir'].value)
  finally:
    flagsaver.restore_flag_values(saved)
  return open_experiment(config, workdir, run_data.prepare_data(config))


def start(argv: list[str], *, cache: Path | None = None, devices: int = 1) -> subprocess.Popen:
  """The command in a process of its own."""
  environment = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
  }
  if cache:
    environment |= {
      'JAX_COMPILATION_CACHE_DIR': str(cache),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }
  return subprocess.Popen(
    [sys.executable, '-m', 'experiments.main', *argv],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def sentence(capsys) -> str:
  """The one line on stderr that says what is wrong."""
  error = capsys.readouterr().err
  assert error.startswith('error: ') and error.count('\n') == 1 and error.endswith('\n'), error
  return error


def log_lines(workdir: Path) -> list[dict]:
  """The log of a run; a line that is being written is left out."""
  path = workdir / 'metrics.jsonl'
  text = path.read_text() if path.exists() else ''
  return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith('\n')]


def summary(workdir: Path) -> dict:
  """The scores that a run wrote."""
  return json.loads((workdir / 'evaluation' / 'summary.json').read_text())
