"""Score anybody's predictions: PNG or NIfTI, a folder a sample and a folder a rater.

  python -m experiments.score --predictions=samples --masks=raters --workdir=scored

writes ``evaluation/cases.csv``, ``evaluation/summary.json`` and ``report.html`` into the workdir.
The same file name in every folder is the same image or volume:

  samples/sample_1/case_07.nii.gz      raters/rater_1/case_07.nii.gz
  samples/sample_2/case_07.nii.gz      raters/rater_2/case_07.nii.gz

nnU-Net: one prediction folder is one sample; give a folder with one such folder a fold or seed.
D-Persona: ``--layout=dpersona --predictions=results_0_fold`` reads both from its result folder.
"""

from collections.abc import Iterator
from pathlib import Path

from absl import flags

from experiments import command
from experiments.prediction_files import Found, find_dpersona, find_folders, read_unit
from multirater_jax import report
from multirater_jax.case_rows import PlainCase, score_cases
from multirater_jax.data.errors import DataError
from multirater_jax.score_tables import write_tables
from multirater_jax.workdir import write_json
from tfds_builders.folder.layout import case_of

_PREDICTIONS = flags.DEFINE_string('predictions', None, 'Folder with one folder a sample.')
_MASKS = flags.DEFINE_string('masks', None, 'Folder with one folder a rater.')
_PERSONALIZED = flags.DEFINE_string(
  'personalized', None, 'Folder with one folder a rater, named as the raters of --masks.'
)
_LAYOUT = flags.DEFINE_enum('layout', 'folders', ['folders', 'dpersona'], 'How files are named.')
_PROTOCOL = flags.DEFINE_enum(
  'protocol', 'standard', ['standard', 'dpersona', 'diffoseg'], 'Conventions of the scores.'
)
_NUM_CLASSES = flags.DEFINE_integer('num_classes', 2, 'Classes with background.', lower_bound=2)
_PROBABILITIES = flags.DEFINE_bool(
  'probabilities', False, 'Predictions are probabilities: fractions, or integers of full scale.'
)
_ALLOW_MISSING = flags.DEFINE_bool(
  'allow_missing', False, 'A mask that is missing means that the rater did not draw.'
)
_CASE_PATTERN = flags.DEFINE_string(
  'case_pattern',
  '',
  'Regular expression whose first group is the patient in a file name; the '
  'intervals are over patients. By default every file is its own.',
)
_SPACING = flags.DEFINE_list('spacing', None, 'Pixel size in mm, h,w or d,h,w; NIfTI files know.')
flags.declare_key_flag('workdir')
flags.declare_key_flag('seed')


def find() -> Found:
  """The files the flags name."""
  predictions = Path(_PREDICTIONS.value)
  if _LAYOUT.value == 'dpersona':
    if _MASKS.value or _PERSONALIZED.value:
      raise DataError('--layout=dpersona reads masks and predictions from --predictions alone.')
    return find_dpersona(predictions)
  if not _MASKS.value:
    raise DataError('--masks is missing; give the folder with one folder a rater.')
  own = Path(_PERSONALIZED.value) if _PERSONALIZED.value else None
  return find_folders(predictions, Path(_MASKS.value), own, allow_missing=_ALLOW_MISSING.value)


def spacing_flag() -> tuple[float, ...] | None:
  """Pixel size from the flag, in mm."""
  if not _SPACING.value:
    return None
  try:
    return tuple(float(value) for value in _SPACING.value)
  except ValueError:
    given = ','.join(_SPACING.value)
    raise DataError(f'--spacing={given} holds no numbers; give h,w or d,h,w.') from None


def read(found: Found) -> Iterator[PlainCase]:
  """The arrays of every unit, one at a time."""
  spacing = spacing_flag()
  for unit in found.units:
    case = read_unit(
      found, unit, num_classes=_NUM_CLASSES.value, probabilities=_PROBABILITIES.value
    )
    yield case._replace(spacing=spacing or case.spacing)


def run() -> int:
  """Scores everything, writes the files, prints the main scores and where the report lies."""
  if not _PREDICTIONS.value or not command.WORKDIR.value:
    raise DataError('Give --predictions=DIR and --workdir=DIR.')
  workdir = Path(command.WORKDIR.value)
  if (workdir / 'config.json').exists():
    raise DataError(f'{workdir} holds a training run; choose another --workdir.')
  found = find()
  cases = [case_of(unit, _CASE_PATTERN.value) for unit in found.units]
  try:
    rows = score_cases(read(found), protocol=_PROTOCOL.value, seed=command.SEED.value)
  except ValueError as error:  # arrays that do not fit each other
    raise DataError(str(error)) from error
  summary = write_tables(
    workdir / 'evaluation',
    rows,
    cases,
    found.units,
    split='all',
    num_samples=len(found.samples),
    protocol=_PROTOCOL.value,
    rater_order='slot',
  )
  fingerprint = {'name': str(_PREDICTIONS.value), 'raters': list(found.raters)}
  write_json(workdir / 'fingerprint.json', fingerprint | {'num_classes': _NUM_CLASSES.value})
  page = report.write(workdir)
  model = summary['rows'][0]['scores']
  shown = [f'{name} {model[name]["mean"]:.4f}' for name in ('ged', 'dice_soft', 'dice_max', 'hd95')]
  print(f'{len(found.units)} units: {", ".join(shown)}; see {page}')
  return 0


if __name__ == '__main__':
  command.start(run)
