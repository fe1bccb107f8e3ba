"""A model card filled from a run; what only a person can say is left to be filled in."""

from multirater_jax.report import scores
from multirater_jax.report.part import identity_warning
from multirater_jax.report.provenance import split_cases
from multirater_jax.report.reading import Run

_SCORES = ('ged', 'dice_soft', 'dice_max', 'dice_match', 'dice_rater', 'dice_rater_gap', 'ece')
_TO_FILL = '*to be filled in by a person*'


def card(run: Run) -> str:
  """The card as Markdown."""
  data, config = run.fingerprint, run.config
  parts = [
    f'# Model card: {run.name}',
    '## Model',
    _list(
      {
        'method': config.get('method'),
        'stages and steps': ', '.join(
          f'{name} ({config["stage"][name]["steps"]})' for name in config.get('stages', [])
        )
        if isinstance(config.get('stage'), dict)
        else None,
        'window': _window(config),
        'parameters (sha256)': ', '.join(
          f'{stage} {digest[:16]}' for stage, digest in run.summary.get('parameters', {}).items()
        ),
        'made with': ', '.join(f'{key} {run.environment[key]}' for key in _versions(run)),
      }
    ),
    '## Training data',
    _list(
      {
        'set': data.get('name'),
        'records and cases': _counts(data),
        'raters': ', '.join(map(str, data.get('raters', []))),
        'cases by part': ', '.join(f'{k} {len(v):,}' for k, v in split_cases(run.split).items()),
        'hash of the records': data.get('hash'),
        'hash of the split': run.split.get('hash'),
        'Dice between raters': _number(data.get('dice', {}).get('mean')),
      }
    ),
    data.get('personalization', ''),
    '## Scores',
    f'Split: {run.summary.get("split", "")}, {run.summary.get("units", "")} units of '
    f'{run.summary.get("cases", "")} cases, {run.summary.get("num_samples", "")} samples an image. '
    'Means with 95 % bootstrap intervals over cases.',
    _table(run.summary),
    scores.verdict(run.summary),
    '## Limits',
    identity_warning(run),
    'Trained and scored on the data above and on nothing else; other scanners, populations and '
    'raters are unknown. Not a medical device: for research only.',
    '## Intended use',
    f'- what it is for, and what not: {_TO_FILL}',
    f'- who the raters are, their training and task: {_TO_FILL}',
    f'- population, consent and licence of the data: {_TO_FILL}',
    f'- contact: {_TO_FILL}',
  ]
  return '\n\n'.join(part for part in parts if part) + '\n'


def _versions(run: Run) -> list[str]:
  return [key for key in ('python', 'jax', 'flax', 'devices') if key in run.environment]


def _window(config: dict) -> str | None:
  size = config.get('data', {}).get('eval_size') if isinstance(config.get('data'), dict) else None
  return f'{size} x {size} pixels' if size else None


def _counts(data: dict) -> str | None:
  if 'records' not in data:
    return None
  return f'{data["records"]:,} of {data.get("cases", 0):,}'


def _number(value: object) -> str | None:
  return f'{value:.3f}' if isinstance(value, int | float) else None


def _list(facts: dict[str, object]) -> str:
  return '\n'.join(f'- {key}: {_plain(value)}' for key, value in facts.items() if value)


def _plain(value: object) -> str:
  """Text of the run that cannot end its line or open a tag."""
  return ' '.join(str(value).replace('<', '&lt;').split())


def _table(summary: dict) -> str:
  models, bounds = scores.split_rows(summary)
  rows = [*models, *bounds]
  names = [name for name in _SCORES if any(name in row.get('scores', {}) for row in rows)]
  heads = [f'{scores.column(n).heading} {scores.ARROWS[scores.column(n).better]}' for n in names]
  lines = ['| | ' + ' | '.join(heads) + ' |', '|---' * (len(names) + 1) + '|']
  for row in rows:
    cells = [scores.with_interval(row, name) if name in row['scores'] else '' for name in names]
    label = _plain(row.get('label')).replace('|', '/')
    lines.append('| ' + ' | '.join([label, *cells]) + ' |')
  return '\n'.join(lines)
