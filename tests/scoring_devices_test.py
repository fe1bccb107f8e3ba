"""Scores do not depend on how many devices and processes compute them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_run

ROOT = Path(__file__).resolve().parents[1]


def start(arguments, devices):
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}',
    'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
  }
  return subprocess.Popen(
    [sys.executable, '-m', 'small_run', *map(str, arguments)],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(processes):
  try:
    for process in processes:
      output, _ = process.communicate(timeout=500)
      assert process.returncode == 0, output[-3000:]
  finally:
    for process in processes:
      process.kill()


def unused_port():
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  return small_run.prepare_images(tmp_path_factory.mktemp('set'))


@pytest.fixture(scope='module')
def expected(directory, tmp_path_factory):
  """On one device, in batches of 4."""
  folder = tmp_path_factory.mktemp('one')
  finish([start([directory, folder, 4], devices=1)])
  return np.load(folder / 'scores.npz')


def check(folder, expected):
  actual = np.load(folder / 'scores.npz')
  assert set(actual.files) == set(expected.files)
  assert {'one|ged', 'one|ece', 'two|dice_rater_gap'} <= set(actual.files)
  for name in expected.files:
    np.testing.assert_allclose(actual[name], expected[name], atol=1e-6, err_msg=name)


def test_eight_devices_give_the_scores_of_one(directory, expected, tmp_path):
  finish([start([directory, tmp_path, 8], devices=8)])
  check(tmp_path, expected)


def test_two_processes_give_the_scores_of_one(directory, expected, tmp_path):
  port = unused_port()
  finish([start([directory, tmp_path, 4, port, number], devices=2) for number in range(2)])
  check(tmp_path, expected)
