"""A section of the page, and what all sections must say alike about the raters."""

from typing import NamedTuple

from multirater_jax.report.reading import Run


class Part(NamedTuple):
  """Markup of a section and the PNG files that go with it."""

  body: str
  figures: dict


def figure_name(*parts: str) -> str:
  """A file name of letters, digits and underscores."""
  kept = [''.join(letter if letter.isalnum() else '_' for letter in part) for part in parts]
  return (
    '_'.join(part.encode('ascii', 'replace').decode().replace('?', '_') for part in kept)[:100]
    + '.png'
  )


def raters(run: Run, count: int) -> list[str]:
  """Names of the raters as their order allows: persons, area ranks or slots."""
  order = run.summary.get('rater_order', 'identity')
  if order == 'area_rank':
    ends = {0: ' (smallest)', count - 1: ' (largest)'} if count > 1 else {}
    return [f'area rank {rater + 1}{ends.get(rater, "")}' for rater in range(count)]
  names = run.fingerprint.get('raters') or []
  if order == 'identity' and len(names) == count:
    return [str(name) for name in names]
  return [f'{"rater" if order == "identity" else "slot"} {i + 1}' for i in range(count)]


def identity_warning(run: Run) -> str:
  """Says that the raters are no persons, where this is so."""
  order = run.summary.get('rater_order', 'identity')
  if order == 'identity' and run.fingerprint.get('rater_identity', True):
    return ''
  what = 'area ranks (smallest mask first)' if order == 'area_rank' else 'slots'
  return (
    f'The raters of this run are {what}, not persons: the same number may be another reader in '
    'another image. Personalized scores say nothing about an individual reader.'
  )
