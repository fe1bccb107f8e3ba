"""Predict new images with a trained run: a mask a rater, samples, consensus, uncertainty.

  python -m experiments.predict --checkpoint=RUN --input=FILE_OR_FOLDER --output=DIR
    [--raters=1,3] [--prompt="conservative outline" ...] [--samples=16] [--seed=0]
    [--html] [--dicom_seg]

Reads PNG, JPEG, TIFF, NIfTI (volumes slice by slice, with the same draws for all slices) and CT
series of DICOM files; intensities are scaled as in the training of RUN. Writes a folder an image
below DIR; its ``summary.json`` holds sizes with their interval over samples, Dice between raters,
and flags where an image is unlike those of training. ``--html`` adds a page to look through it all,
``--dicom_seg`` for a DICOM series a segmentation with a segment a rater.

The same command goes on where it stopped. Ends with status 0; with 3 where some images could not be
predicted, the others are written.
"""

import functools
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments import command, dicom_seg, kernels, model_flags, prediction_output
from multirater_jax import scans
from multirater_jax.checkpoints import CheckpointError, digest
from multirater_jax.data.errors import DataError
from multirater_jax.model import Model, load
from multirater_jax.progress import follow, lines
from multirater_jax.report import explorer
from multirater_jax.trained import Facts, run_facts
from tfds_builders import inputs

_INPUT = flags.DEFINE_string('input', None, 'An image, a volume, or a folder of them.')
_RATERS = flags.DEFINE_list('raters', None, 'Names of raters, or numbers from 1; all by default.')
_PROMPTS = flags.DEFINE_multi_string('prompt', None, 'A manner in words, instead of raters.')
_NEW_RATER = flags.DEFINE_string('new_rater', None, 'A rater that experiments.adapt fitted.')
_OVERLAP = flags.DEFINE_float(
  'overlap', 0.5, 'Of sliding windows, as a share of their side.', 0, 0.9
)
_HTML = flags.DEFINE_bool('html', False, 'Also write explorer.html, a page to look through it.')
_SEG = flags.DEFINE_bool('dicom_seg', False, 'Of DICOM series also write a DICOM segmentation.')
flags.adopt_module_key_flags(model_flags)
flags.declare_key_flag('seed')

SOME_FAILED = 3  # exit status


class _Task(NamedTuple):
  """What is the same for all inputs."""

  model: Model
  parameters: str  # digest
  facts: Facts
  wish: scans.Wish


def run() -> int:
  """Predicts every input; returns the status."""
  checkpoint, output = model_flags.checkpoint(), model_flags.output()
  source = model_flags.given('input')
  if _SEG.value and not dicom_seg.is_available():
    raise DataError("--dicom_seg needs highdicom: pip install 'multirater_jax[dicom]'.")
  wish = scans.Wish(
    model_flags.SAMPLES.value,
    tuple(_RATERS.value) if _RATERS.value else None,
    tuple(_PROMPTS.value) if _PROMPTS.value else None,
    command.SEED.value,
  )
  try:
    facts = run_facts(checkpoint)
    kernels.choose(facts.config['model'].get('dtype'))
    model = load(checkpoint, model_flags.STAGE.value, new_rater=_NEW_RATER.value)
    model.style_of(wish.raters, wish.prompts)  # an unknown rater shows before the first image
  except (CheckpointError, ValueError) as error:
    raise DataError(str(error)) from error
  task = _Task(model, digest(model.params), facts, wish)
  failed = 0
  found = inputs.find(source, facts.config['data'])
  with lines():
    for one in follow(found, 'images', len(found)):
      try:
        _predict(one, output / one.name, task)
      except (DataError, OSError) as error:
        failed += 1
        print(f'error: {one.path}: {error}', file=sys.stderr)
  print(f'{len(found) - failed} of {len(found)} images: {output.resolve()}')
  return SOME_FAILED if failed else 0


def _predict(one: inputs.Input, folder: Path, task: _Task) -> None:
  """Predicts one image, unless its folder holds just this."""
  model, _, facts, wish = task
  asked = _asked(one, task)
  if prediction_output.is_done(folder, asked):
    return
  if folder.exists():
    raise DataError(f'{folder} holds something else; remove it or choose another --output.')
  scan = one.read()
  _check_channels(scan, facts)
  names = wish.names(model)
  _check_memory(scan, model.num_classes * (wish.num_samples + len(names)))
  with tempfile.TemporaryDirectory() as scratch:
    number = len(scan.planes)
    bar = functools.partial(follow, what=f'slices of {one.name}', total=number)
    shown = bar if number > 1 else iter
    maps = scans.predict(model, scan.planes, wish, Path(scratch), shown, overlap=_OVERLAP.value)
    found = {
      'input': str(one.path),
      **scans.measures(maps, names, _voxel_ml(scan)),
      'flags': [*scan.notes, *scans.flags(scan.planes, scan.spacing, model, facts.fingerprint)],
      'num_classes': model.num_classes,
      'rater_names': list(names),
      'prompts': list(wish.prompts or ()),
      'asked': asked,
    }
    page = _explored(one.name, scan, maps, task, found) if _HTML.value else None
    with prediction_output.appearing(folder) as temporary:
      prediction_output.write(temporary, scan, maps, names, found)
      if page:
        explorer.write(temporary / 'explorer.html', page)
      if _SEG.value and scan.slices:
        dicom_seg.write(
          temporary / dicom_seg.FILE, maps.raters, names, scan.slices, method=facts.config['method']
        )


def _explored(
  title: str,
  scan: inputs.Scan,
  maps: scans.Maps,
  task: _Task,
  found: dict[str, Any],
) -> explorer.Explored:
  """What the page shows, with mixtures of the first and the last of raters or prompts."""
  model, wish, names = task.model, task.wish, found['rater_names']
  mix = None
  if len(names) > 1:
    ends = model.style_of(wish.raters, wish.prompts)[[0, -1]]
    masks = scans.mixtures(model, scan.planes, ends, wish, overlap=_OVERLAP.value)
    mix = explorer.Mix(names[0], names[-1], masks)
  sizes = {**found['raters'], 'consensus': found['consensus']}
  show = '{:,.3g} ml' if found['unit'] == 'ml' else '{:,.0f} pixels'
  facts = [(name, show.format(size)) for name, size in sizes.items()]
  low, high = (show.format(found['samples'][end]).split()[0] for end in ('low', 'high'))
  row, column = scan.spacing or (1.0, 1.0)
  return explorer.Explored(
    title,
    scan.planes,
    dict(zip(names, maps.raters, strict=True)),
    *maps[1:],
    num_classes=model.num_classes,
    aspect=row / column,
    mix=mix,
    facts=[*facts, ('95 % of samples', f'{low} to {high}')],
    flags=found['flags'],
  )


def _asked(one: inputs.Input, task: _Task) -> dict[str, Any]:
  """What decides the outcome: the parameters, the options and the state of the input file."""
  status = one.path.stat()
  text = f'{one.path.resolve()} {status.st_size} {status.st_mtime_ns}'
  return {
    'parameters': task.parameters,
    'overlap': _OVERLAP.value,
    'input': hashlib.sha256(text.encode()).hexdigest(),
    'html': _HTML.value,
    'dicom_seg': _SEG.value,
    'samples': task.wish.num_samples,
    'raters': task.wish.raters and list(task.wish.raters),
    'prompts': task.wish.prompts and list(task.wish.prompts),
    'seed': task.wish.seed,
  }


def _check_channels(scan: inputs.Scan, facts: Facts) -> None:
  known, given = len(facts.fingerprint['intensity']), scan.planes.shape[-1]
  if known != given:
    raise DataError(f'It has {given} channels, the run was trained on {known}.')


def _check_memory(scan: inputs.Scan, maps: int) -> None:
  """A slice with all its probabilities must fit twice: while they are summed, and blended."""
  height, width = scan.planes.shape[1:3]
  needed = 2 * 4 * height * width * maps
  if needed > os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'):
    raise DataError(
      f'{height}x{width} pixels need {needed / 2**30:.0f} GB of memory, more than there is here; '
      'ask for fewer --samples or --raters, or cut the image.'
    )


def _voxel_ml(scan: inputs.Scan) -> float | None:
  """Size of a voxel in ml where all its sides are known."""
  sides = (*(scan.spacing or ()), scan.thickness)
  if len(sides) != 3 or not all(side and np.isfinite(side) for side in sides):
    return None
  return float(np.prod(sides)) / 1000


if __name__ == '__main__':
  command.start(run)
