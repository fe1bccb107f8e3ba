import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirater_jax.data import splits
from multirater_jax.data.errors import DataError

CASES = [f'case {number}' for number in range(20)]
case_lists = st.lists(st.integers(0, 40).map(str), min_size=8, unique=True)


@given(case_lists, st.integers(0, 9), st.floats(0, 0.4), st.integers(0, 3))
def test_hold_out_gives_every_case_to_one_part(cases, seed, validation, test):
  split = splits.hold_out(cases, validation=validation, test=test, seed=seed)
  together = [case for part in splits.PARTS for case in split[part]]
  assert sorted(together) == sorted(cases)
  assert len(split['test']) == test
  splits.check_leak(split, cases)


@given(case_lists, st.data())
def test_split_depends_on_the_seed_not_on_the_order(cases, data):
  shuffled = data.draw(st.permutations(cases + cases[:3]))
  options = {'validation': 0.2, 'test': 2, 'seed': 3}
  assert splits.hold_out(cases, **options) == splits.hold_out(shuffled, **options)


def test_another_seed_gives_another_split():
  one, two = (splits.hold_out(CASES, validation=0.2, test=0.2, seed=seed) for seed in (0, 1))
  assert one['test'] != two['test']
  assert one['hash'] != two['hash']
  assert len(one['test']) == len(one['validation']) == 4


@given(case_lists, st.integers(2, 5), st.integers(0, 9))
def test_folds_test_every_case_once(cases, folds, seed):
  made = [
    splits.k_fold(cases, folds=folds, fold=fold, seed=seed, validation=1) for fold in range(folds)
  ]
  tested = [case for split in made for case in split['test']]
  assert sorted(tested) == sorted(cases)
  for split in made:
    assert len(split['validation']) == 1
    splits.check_leak(split, cases)


@pytest.mark.parametrize(
  'options',
  [{'validation': 10, 'test': 10}, {'validation': -1, 'test': 0}, {'validation': 0, 'test': 1.5}],
)
def test_impossible_shares_are_refused(options):
  with pytest.raises(DataError):
    splits.hold_out(CASES, seed=0, **options)


@pytest.mark.parametrize('fold,folds', [(0, 21), (0, 1), (3, 3), (-1, 3)])
def test_impossible_folds_are_refused(fold, folds):
  with pytest.raises(DataError, match='fold'):
    splits.k_fold(CASES, folds=folds, fold=fold, seed=0)


def test_written_split_reads_back_and_a_changed_one_is_refused(tmp_path):
  split = splits.hold_out(CASES, validation=0.2, test=0.2, seed=0)
  path = tmp_path / 'split.json'
  splits.write(split, path)
  assert splits.read(path) == split
  assert list(tmp_path.iterdir()) == [path]
  changed = json.loads(path.read_text())
  changed['train'].append(changed['test'].pop())
  path.write_text(json.dumps(changed))
  with pytest.raises(DataError, match='hash'):
    splits.read(path)
  path.write_text('{')
  with pytest.raises(DataError, match='no readable split'):
    splits.read(path)


def test_leaks_are_named():
  split = splits.hold_out(CASES, validation=0.2, test=0.2, seed=0)
  leaking = split['test'][0]
  with pytest.raises(DataError, match=f"'{leaking}' leaks"):
    splits.check_leak(split | {'train': [*split['train'], leaking]}, CASES)
  with pytest.raises(DataError, match='stranger'):
    splits.check_leak(split, [*CASES, 'stranger'])


def test_records_of_a_part():
  found = splits.records_of(['b', 'c'], ['a', 'b', 'b', 'c', 'a'])
  np.testing.assert_array_equal(found, [1, 2, 3])
  assert len(splits.records_of([], ['a'])) == 0


DOWNLOAD = [
  *(f'training/Sample_{number}' for number in range(12)),
  *(f'validation/Sample_{number}' for number in range(3)),
]


def test_the_published_parts_are_taken_as_they_are():
  cases = [*DOWNLOAD, 'testing/Sample_0', 'testing/Sample_0']
  split = splits.published(cases)
  assert split['train'] == sorted(DOWNLOAD[:12])
  assert split['validation'] == DOWNLOAD[12:]
  assert split['test'] == ['testing/Sample_0']
  splits.check_leak(split, cases)
  assert splits.published(['train/a', 'val/a', 'test/a'])['validation'] == ['val/a']


def test_the_last_training_cases_are_held_back_by_number():
  split = splits.held_back(DOWNLOAD, validation=3)
  assert split['validation'] == ['training/Sample_10', 'training/Sample_11', 'training/Sample_9']
  assert split['test'] == DOWNLOAD[12:]
  assert len(split['train']) == 9
  splits.check_leak(split, DOWNLOAD)
  assert splits.held_back(DOWNLOAD, validation=0.25) == split


def test_published_splits_are_written_and_read(tmp_path):
  split = splits.held_back(DOWNLOAD, validation=3)
  splits.write(split, tmp_path / 'split.json')
  assert splits.read(tmp_path / 'split.json') == split


@pytest.mark.parametrize(
  'make,cases,message',
  [
    (splits.published, DOWNLOAD, 'published test part is not here'),
    (splits.published, ['training/a', 'b'], "'b' names no published part"),
    (splits.published, ['training/a', 'cases/b'], "'cases/b' names no published part"),
    (lambda c: splits.held_back(c, validation=3), [*DOWNLOAD, 'test/a'], r'is here \(1 cases\)'),
    (lambda c: splits.held_back(c, validation=12), DOWNLOAD, 'would be empty'),
    (lambda c: splits.held_back(c, validation=0), DOWNLOAD, 'would be empty'),
    (lambda c: splits.held_back(c, validation=3), DOWNLOAD[:12], 'would be empty'),
  ],
)
def test_published_parts_that_are_not_there(make, cases, message):
  with pytest.raises(DataError, match=message):
    make(cases)
