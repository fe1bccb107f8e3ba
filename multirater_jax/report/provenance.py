"""Where the numbers come from: split, records, environment, configuration."""

import json
from html import escape

from multirater_jax.report import html, records
from multirater_jax.report.part import Part
from multirater_jax.report.reading import Run


def data(run: Run) -> Part | None:
  """What was split how, whether cases leak, and the fingerprint of the records."""
  if not (run.split or run.fingerprint):
    return None
  body = ''
  found = split_cases(run.split)
  if found:
    body += '<h3>Split by case</h3>'
    body += html.table(('part', 'cases'), [(name, f'{len(v):,}') for name, v in found.items()])
    body += leak_check(found)
  if run.split.get('hash'):
    body += html.paragraph(f'Split hash: {run.split["hash"]}', 'soft')
  if run.fingerprint:
    plain, tables = records.split_facts(run.fingerprint)
    body += '<h3>Records</h3>' + facts(plain) + tables
  return Part(body, {})


def split_cases(split: dict) -> dict[str, list]:
  """Cases of every part, wherever the file keeps them."""
  for holder in (split, *(value for value in split.values() if isinstance(value, dict))):
    parts = {name: _case_list(value) for name, value in holder.items()}
    found = {name: cases for name, cases in parts.items() if cases is not None}
    if 'test' in found or 'train' in found:
      order = ('train', 'validation', 'test')
      return dict(sorted(found.items(), key=lambda item: (*order, item[0]).index(item[0])))
  return {}


def _case_list(value: object) -> list | None:
  if isinstance(value, dict):
    value = value.get('cases')
  return value if isinstance(value, list) else None


def leak_check(found: dict[str, list]) -> str:
  """Cases that stand in two parts, counted here from the lists themselves."""
  names = list(found)
  shared = [
    f'{len(both)} in {one} and {other}'
    for place, one in enumerate(names)
    for other in names[place + 1 :]
    if (both := {str(case) for case in found[one]} & {str(case) for case in found[other]})
  ]
  if shared:
    return html.paragraph(f'LEAK: cases on both sides: {"; ".join(shared)}.', 'warning')
  return html.paragraph('Leak check: no case stands in two parts.')


def facts(values: dict) -> str:
  """Names and values; a list of plain values becomes one line."""
  return html.table(('name', 'value'), [(str(key), _fact(value)) for key, value in values.items()])


def _fact(value: object) -> str:
  if isinstance(value, bool):
    return 'yes' if value else 'no'
  if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
    return ', '.join(str(item) for item in value)
  return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def environment(run: Run) -> Part | None:
  """Machine and library versions."""
  return Part(facts(run.environment), {}) if run.environment else None


def configuration(run: Run) -> Part | None:
  """The whole config, folded."""
  if not run.config:
    return None
  text = json.dumps(run.config, indent=2, ensure_ascii=False)
  return Part(html.details('Show the configuration', f'<pre>{escape(text)}</pre>'), {})
