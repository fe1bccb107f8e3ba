"""Splits by case: seeded, written as JSON with a hash, checked for leaks.

A split is a dict with the sorted case names under ``train``, ``validation`` and ``test``, the
``seed`` and a ``hash`` over all of it.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from multirater_jax.data.errors import DataError

PARTS = ('train', 'validation', 'test')

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
  split = {
    'train': sorted(rest[num_validation:]),
    'validation': sorted(rest[:num_validation]),
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
