"""Measure whether a trained model does what prompts say, on its test images.

  python -m experiments.prompts --workdir=runs/prosona-phantom

prints a table and writes ``evaluation/prompts.json``: areas on the way from one prompt to another,
and for every paraphrase, of training and held out.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from experiments import command, kernels, run_data
from multirater_jax.checkpoints import CheckpointError
from multirater_jax.data.errors import DataError
from multirater_jax.experiment import open_experiment, outputs_of
from multirater_jax.prompt_obedience import obedience
from multirater_jax.trained import load_method
from multirater_jax.workdir import write_json

_START = flags.DEFINE_string('start', 'conservative outline, excludes the halo', 'First prompt.')
_END = flags.DEFINE_string('end', 'generous outline, includes the halo', 'Last prompt.')
_POINTS = flags.DEFINE_integer('points', 5, 'Prompts from first to last.', lower_bound=2)
flags.declare_key_flag('workdir')


def run() -> int:
  """Measures, prints a table, returns the status."""
  if not command.WORKDIR.value:
    raise DataError('Give --workdir=FOLDER, the folder of a trained run.')
  workdir = Path(command.WORKDIR.value)
  try:
    found = measure(workdir)
  except (CheckpointError, ValueError) as error:
    raise DataError(str(error)) from error
  write_json(workdir / 'evaluation' / 'prompts.json', found)
  print(table(found))
  return 0


def measure(workdir: Path) -> dict[str, Any]:
  """What the prompts do to the last stage of the run that has personalized masks."""
  path = workdir / 'config.json'
  if not path.is_file():
    raise DataError(f'{workdir} is not the folder of a run: it has no config.json.')
  config = ConfigDict(json.loads(path.read_text()))
  kernels.choose(config.model.get('dtype'))
  if 'text_dim' not in config.model:
    raise DataError(f'The method {config.method} takes no prompts; train prosona.')
  stage = [output.stage for output in outputs_of(config) if output.verb == 'personalize'][-1]
  method, params = load_method(workdir, stage)
  experiment = open_experiment(config, workdir, run_data.prepare_data(config))
  ends = (_START.value, _END.value)
  return obedience(experiment, stage, method, params, ends=ends, points=_POINTS.value)


def table(found: dict[str, Any]) -> str:
  """The findings as lines."""
  way = found['interpolation']
  areas = ' '.join(f'{area:.1f}' for area in way['areas'])
  lines = [
    f'{found["images"]} test images, stage {found["stage"]}; areas in pixels, means over images',
    f'"{way["start"]}" to "{way["end"]}": {areas}; rising in {way["monotone"]:.1%} of the images',
  ]
  for name in ('trained', 'held_out'):
    part = found[name]
    lines.append(
      f'{name} paraphrases: {part["ordered"]:.1%} ordered through three levels, '
      f'{part["ordered_ends"]:.1%} generous above conservative, '
      f'{part["ragged_above_smooth"]:.1%} ragged above smooth in {found["ragged_images"]} images'
    )
    for level, prompts in part['prompts'].items():
      for prompt, area in zip(prompts, part['areas'][level], strict=True):
        lines.append(f'  {level:14}{area:8.1f}  {prompt}')
  return '\n'.join(lines)


if __name__ == '__main__':
  command.start(run)
