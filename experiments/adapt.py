"""Teach a trained run a new rater from a few of their annotations.

  python -m experiments.adapt --workdir=RUN --manual_dir=FOLDER --rater=NAME --num_images=5

FOLDER holds images/ and a folder a rater as the data set ``folder`` reads them; NAME is that of the
new rater's folder, such as rater_5. Only the rater's own numbers are fitted. Images of the run's
test part are scored, never fitted. Writes <RUN>/adapted/NAME/{params.safetensors,scores.json};
afterwards ``multirater_jax.load(RUN, new_rater=NAME)`` personalizes for them.
"""

from pathlib import Path
from typing import Any

from absl import flags

import tfds_builders
from experiments import command, data_flags, kernels
from multirater_jax import new_rater
from multirater_jax.checkpoints import CheckpointError
from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from multirater_jax.trained import run_facts
from multirater_jax.workdir import write_json

_RATER = flags.DEFINE_string('rater', None, 'Name of the new rater in the data set.')
_IMAGES = flags.DEFINE_integer('num_images', 5, 'Images to fit, 1 to 20.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 200, 'Steps of Adam.', lower_bound=1)
flags.adopt_module_key_flags(data_flags)
flags.declare_key_flag('workdir')
flags.declare_key_flag('seed')


def run() -> int:
  """Prepares the new rater's data, fits, scores, prints."""
  if not command.WORKDIR.value or not _RATER.value:
    raise DataError('Give --workdir=RUN and --rater=NAME.')
  workdir = Path(command.WORKDIR.value)
  try:
    config = run_facts(workdir).config
    kernels.choose(config['model'].get('dtype'))
    name = data_flags.dataset('folder')
    directory = tfds_builders.prepare(name, data_flags.DATA_DIR.value, **data_flags.options())
    percentiles = tuple(config['data']['percentiles']) or None
    source = Source(directory, rater_order='identity', percentiles=percentiles)
    task = new_rater.choose(source, _RATER.value, workdir, _IMAGES.value, command.SEED.value)
    scores = new_rater.fit(workdir, task, _RATER.value, steps=_STEPS.value, seed=command.SEED.value)
  except (CheckpointError, ValueError) as error:
    raise DataError(str(error)) from error
  path = workdir / 'adapted' / _RATER.value / 'scores.json'
  write_json(path, scores)
  print(_told(scores))
  print(f'New rater: {path.parent.resolve()}')
  return 0


def _told(scores: dict[str, Any]) -> str:
  """The scores for a reader."""
  lines = [
    f'Fitted to {scores["images"]} images ({scores["crops"]} crops). '
    f'Dice with the new rater on {scores["scored"]} test images, with 95 % intervals:'
  ]
  gain = {'adapted minus consensus': scores['adapted minus consensus']}
  for name, value in (scores['dice'] | gain).items():
    lines.append(f'  {name:<24}{value["mean"]:6.3f}  ({value["low"]:.3f} to {value["high"]:.3f})')
  return '\n'.join(lines)


if __name__ == '__main__':
  command.start(run)
