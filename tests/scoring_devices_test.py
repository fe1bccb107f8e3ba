"""Scores do not depend on how many devices and processes compute them."""

import numpy as np
import pytest
import small_run
from processes import finish, start, unused_port


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  return small_run.prepare_images(tmp_path_factory.mktemp('set'))


@pytest.fixture(scope='module')
def expected(directory, tmp_path_factory):
  """On one device, in batches of 4."""
  folder = tmp_path_factory.mktemp('one')
  finish(start('small_run', directory, folder, 4, devices=1))
  return np.load(folder / 'scores.npz')


def check(folder, expected):
  actual = np.load(folder / 'scores.npz')
  assert set(actual.files) == set(expected.files)
  assert {'one|ged', 'one|ece', 'two|dice_rater_gap'} <= set(actual.files)
  for name in expected.files:
    np.testing.assert_allclose(actual[name], expected[name], atol=1e-6, err_msg=name)


def test_eight_devices_give_the_scores_of_one(directory, expected, tmp_path):
  finish(start('small_run', directory, tmp_path, 8, devices=8))
  check(tmp_path, expected)


def test_two_processes_give_the_scores_of_one(directory, expected, tmp_path):
  port = unused_port()
  arguments = ('small_run', directory, tmp_path, 4, port)
  finish(*(start(*arguments, number, devices=2) for number in range(2)))
  check(tmp_path, expected)
