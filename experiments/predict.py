"""Predict new images with a trained run: a mask a rater, samples, consensus, uncertainty.

  python -m experiments.predict --checkpoint=RUN --input=FILE_OR_FOLDER --output=DIR
    [--raters=1,3] [--prompt="conservative outline" ...] [--samples=16] [--seed=0]

Reads PNG, JPEG, TIFF, NIfTI (volumes slice by slice, with the same draws for all slices) and CT
series of DICOM files; intensities are scaled as in the training of RUN. Writes a folder an image
below DIR; its ``summary.json`` holds sizes with their interval over samples, Dice between raters,
and flags where an image is unlike those of training. The same command goes on where it stopped.
Ends with status 0; with 3 where some images could not be predicted, the others are written.
"""

import functools
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import command, prediction_output
from multirater_jax import scans
from multirater_jax.checkpoints import CheckpointError
from multirater_jax.data.errors import DataError
from multirater_jax.model import Model, load
from multirater_jax.trained import Facts, run_facts
from tfds_builders import inputs
from tfds_builders.progress import follow, lines

_CHECKPOINT = flags.DEFINE_string('checkpoint', None, 'Folder of the trained run.')
_STAGE = flags.DEFINE_string('stage', None, 'Stage of the run; the last one where not given.')
_INPUT = flags.DEFINE_string('input', None, 'An image, a volume, or a folder of them.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder of what is written.')
_RATERS = flags.DEFINE_list('raters', None, 'Names of raters, or numbers from 1; all by default.')
_PROMPTS = flags.DEFINE_multi_string('prompt', None, 'A manner in words, instead of raters.')
_NEW_RATER = flags.DEFINE_string('new_rater', None, 'A rater that experiments.adapt fitted.')
_SAMPLES = flags.DEFINE_integer('samples', 16, 'Plausible masks.', lower_bound=1)
_OVERLAP = flags.DEFINE_float(
  'overlap', 0.5, 'Of sliding windows, as a share of their side.', 0, 0.9
)

SOME_FAILED = 3  # exit status


def run() -> int:
  """Predicts every input; returns the status."""
  checkpoint, source, output = _paths()
  wish = scans.Wish(
    _SAMPLES.value,
    tuple(_RATERS.value) if _RATERS.value else None,
    tuple(_PROMPTS.value) if _PROMPTS.value else None,
    command.SEED.value,
  )
  try:
    facts = run_facts(checkpoint)
    model = load(checkpoint, _STAGE.value, new_rater=_NEW_RATER.value)
    model.style_of(wish.raters, wish.prompts)  # an unknown rater shows before the first image
  except (CheckpointError, ValueError) as error:
    raise DataError(str(error)) from error
  failed = 0
  found = inputs.find(source, facts.config['data'])
  with lines():
    for one in follow(found, 'images', len(found)):
      try:
        _predict(one, output / one.name, model, facts, wish)
      except (DataError, OSError) as error:
        failed += 1
        print(f'error: {one.path}: {error}', file=sys.stderr)
  print(f'{len(found) - failed} of {len(found)} images: {output.resolve()}')
  return SOME_FAILED if failed else 0


def _paths() -> tuple[Path, Path, Path]:
  given = {'checkpoint': _CHECKPOINT, 'input': _INPUT, 'output': _OUTPUT}
  for name, flag in given.items():
    if not flag.value:
      raise DataError(f'Give --{name}; see --help.')
  return tuple(Path(flag.value).expanduser() for flag in given.values())


def _predict(one: inputs.Input, folder: Path, model: Model, facts: Facts, wish: scans.Wish) -> None:
  """Predicts one image, unless its folder holds just this."""
  asked = _asked(one, wish)
  if prediction_output.is_done(folder, asked):
    return
  if folder.exists():
    raise DataError(f'{folder} holds something else; remove it or choose another --output.')
  scan = one.read()
  _check_channels(scan, facts)
  names = wish.names(model)
  with tempfile.TemporaryDirectory() as scratch:
    quiet = functools.partial(follow, what=f'slices of {one.name}', total=len(scan.planes))
    maps = scans.predict(model, scan.planes, wish, Path(scratch), quiet, overlap=_OVERLAP.value)
    found = {
      'input': str(one.path),
      **scans.measures(maps, names, _voxel_ml(scan)),
      'flags': [*scan.notes, *scans.flags(scan.planes, scan.spacing, model, facts.fingerprint)],
      'rater_names': list(names),
      'prompts': list(wish.prompts or ()),
      'asked': asked,
    }
    prediction_output.write(folder, scan, maps, names, found)


def _asked(one: inputs.Input, wish: scans.Wish) -> dict[str, Any]:
  """What decides the outcome: the run, the options and the state of the input file."""
  status = one.path.stat()
  text = f'{one.path.resolve()} {status.st_size} {status.st_mtime_ns}'
  return {
    'checkpoint': str(Path(_CHECKPOINT.value).resolve()),
    'stage': _STAGE.value,
    'new_rater': _NEW_RATER.value,
    'overlap': _OVERLAP.value,
    'input': hashlib.sha256(text.encode()).hexdigest(),
    'samples': wish.num_samples,
    'raters': wish.raters and list(wish.raters),
    'prompts': wish.prompts and list(wish.prompts),
    'seed': wish.seed,
  }


def _check_channels(scan: inputs.Scan, facts: Facts) -> None:
  known, given = len(facts.fingerprint['intensity']), scan.planes.shape[-1]
  if known != given:
    raise DataError(f'It has {given} channels, the run was trained on {known}.')


def _voxel_ml(scan: inputs.Scan) -> float | None:
  """Size of a voxel in ml where all its sides are known."""
  sides = (*(scan.spacing or ()), scan.thickness)
  if len(sides) != 3 or not all(side and np.isfinite(side) for side in sides):
    return None
  return float(np.prod(sides)) / 1000


if __name__ == '__main__':
  command.start(run)
