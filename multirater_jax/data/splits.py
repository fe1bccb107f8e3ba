"""Splits by case: seeded, written as JSON with a hash, checked for leaks.

A split is a dict with the sorted case names under ``train``, ``validation`` and ``test``, the
``seed`` (None where nothing is drawn) and a ``hash`` over all of it.
"""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from multirater_jax.data.errors import DataError

PARTS = ('train', 'validation', 'test')

POLICIES = ('random', 'published', 'held_back')
# What publishers call the parts: a case of such a set is named <part>/<patient>.
_PUBLISHED = {
  'train': 'train',
  'training': 'train',
  'val': 'validation',
  'valid': 'validation',
  'validation': 'validation',
  'test': 'test',
  'testing': 'test',
}

Split = dict[str, Any]


def hold_out(
  cases: Iterable[str], *, validation: float | int, test: float | int, seed: int
) -> Split:
  """A random split; ``validation`` and ``test`` are fractions below 1 or whole numbers of cases.

  The order and the repetition of ``cases`` do not matter.

  Raises:
    DataError: when no case is left for training.
  """
  shuffled = _shuffled(cases, seed)
  num_test = _count(test, len(shuffled), 'test')
  num_validation = _count(validation, len(shuffled), 'validation')
  return _split(shuffled[:num_test], shuffled[num_test:], num_validation, seed)


def k_fold(
  cases: Iterable[str], *, folds: int, fold: int, seed: int, validation: float | int = 0
) -> Split:
  """Fold ``fold`` (0 to ``folds`` - 1) of a cross-validation: its cases are the test part.

  ``validation`` is a fraction or number of the cases of the other folds. Over all folds of one
  seed, every case is tested once.
  """
  shuffled = _shuffled(cases, seed)
  if not 2 <= folds <= len(shuffled):
    raise DataError(f'{folds} folds of {len(shuffled)} cases: folds lies between 2 and the cases.')
  if not 0 <= fold < folds:
    raise DataError(f'fold is {fold}; it lies between 0 and {folds - 1}.')
  parts = [part.tolist() for part in np.array_split(np.array(shuffled, dtype=object), folds)]
  rest = [case for number, part in enumerate(parts) if number != fold for case in part]
  return _split(parts[fold], rest, _count(validation, len(rest), 'validation'), seed)


def published(cases: Iterable[str]) -> Split:
  """The parts as published, from the names ``<part>/<patient>`` of the cases; nothing is drawn.

  Raises:
    DataError: when a case names no part, or a part has no case.
  """
  parts = _published_parts(cases)
  absent = [part for part in PARTS if not parts[part]]
  if absent:
    raise DataError(
      f'The published {" and ".join(absent)} part is not here; add it to the data, or set '
      'config.data.split.policy to held_back (which needs no test part) or random.'
    )
  return _finished(parts['train'], parts['validation'], parts['test'])


def held_back(cases: Iterable[str], *, validation: float | int) -> Split:
  """For sets whose test part is not public: the published validation part is the test part.

  The last ``validation`` (a fraction below 1 or a whole number) of the published training cases,
  by the numbers in their names, are the validation part. With 20 on the 100 training patients of
  NPC-170 this is the split of ProSeg's public code.

  Raises:
    DataError: when a case names no part, a test part is there, or a part would be empty.
  """
  parts = _published_parts(cases)
  if parts['test']:
    raise DataError(
      f'The published test part is here ({len(parts["test"])} cases); set '
      'config.data.split.policy=published.'
    )
  train = sorted(parts['train'], key=_natural)
  count = _count(validation, len(train), 'validation')
  if not parts['validation'] or not 0 < count < len(train):
    raise DataError(
      f'{len(parts["validation"])} published validation cases are to be the test part and {count} '
      f'of {len(train)} published training cases the validation part: one part would be empty.'
    )
  return _finished(train[:-count], train[-count:], parts['validation'])


def _published_parts(cases: Iterable[str]) -> dict[str, list[str]]:
  parts: dict[str, list[str]] = {part: [] for part in PARTS}
  for case in sorted(set(cases)):
    name, slash, _ = case.partition('/')
    if not slash or name not in _PUBLISHED:
      raise DataError(
        f'Case {case!r} names no published part (it would begin with training/, validation/ or '
        'testing/); set config.data.split.policy=random.'
      )
    parts[_PUBLISHED[name]].append(case)
  return parts


def _natural(name: str) -> list[tuple[int, int | str]]:
  """A sort key that puts Sample_2 before Sample_10."""
  parts = re.split(r'([0-9]+)', name)
  return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _shuffled(cases: Iterable[str], seed: int) -> list[str]:
  names = sorted(set(cases))
  return [names[index] for index in np.random.default_rng(seed).permutation(len(names))]


def _count(share: float | int, total: int, part: str) -> int:
  """The number of cases of a part; a fraction above 0 gives at least one case."""
  if isinstance(share, int):
    count = share
  elif 0 <= share < 1:
    count = max(1, round(share * total)) if share > 0 else 0
  else:
    count = -1
  if count < 0:
    raise DataError(f'{part} is {share}; give a fraction below 1 or a whole number of cases.')
  return count


def _split(test: list[str], rest: list[str], num_validation: int, seed: int) -> Split:
  if num_validation >= len(rest):
    raise DataError(
      f'{len(test) + len(rest)} cases are too few: {len(test)} for test and {num_validation} for '
      'validation leave none for training.'
    )
  return _finished(rest[num_validation:], rest[:num_validation], test, seed)


def _finished(
  train: list[str], validation: list[str], test: list[str], seed: int | None = None
) -> Split:
  split = {
    'train': sorted(train),
    'validation': sorted(validation),
    'test': sorted(test),
    'seed': seed,
  }
  return split | {'hash': _hash(split)}


def _hash(split: Split) -> str:
  content = {key: split[key] for key in (*PARTS, 'seed')}
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write(split: Split, path: str | os.PathLike) -> None:
  """Writes a split as JSON, all or nothing."""
  path = pathlib.Path(path)
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_text(json.dumps(split, indent=1) + '\n')
  os.replace(temporary, path)


def read(path: str | os.PathLike) -> Split:
  """Reads a split and verifies its hash.

  Raises:
    DataError: when the file is missing, no split, or was changed by hand.
  """
  try:
    split = json.loads(pathlib.Path(path).read_text())
    expected = _hash(split)
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise DataError(f'{path} is no readable split ({error}); write it again.') from error
  if split.get('hash') != expected:
    raise DataError(f'{path} does not fit its hash, so it was changed; write the split again.')
  return split


def check_leak(split: Split, record_cases: Iterable[str]) -> None:
  """Proves that every record belongs to exactly one part.

  Raises:
    DataError: naming a case that two parts share or that no part holds.
  """
  part_of: dict[str, str] = {}
  for part in PARTS:
    for case in split[part]:
      if part_of.setdefault(case, part) != part:
        raise DataError(f'Case {case!r} leaks: it is in {part_of[case]} and in {part}.')
  for case in record_cases:
    if case not in part_of:
      raise DataError(f'Case {case!r} of the data set is in no part; make a new split.')


def records_of(cases: Iterable[str], record_cases: Sequence[str]) -> np.ndarray:
  """Ascending numbers of the records whose case is among ``cases`` (one part of a split)."""
  wanted = frozenset(cases)
  return np.flatnonzero([case in wanted for case in record_cases]).astype(np.int64)
