"""Programs of the tests in processes of their own, on as many fake devices as asked for."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / 'tests'


def start(module: str, *arguments: object, devices: int) -> subprocess.Popen:
  """``python -m module arguments`` with the folders of the tests on its path."""
  flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={devices}'
  environment = os.environ | {
    'XLA_FLAGS': flags,
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': os.pathsep.join(map(str, (ROOT, TESTS, TESTS / 'methods'))),
  }
  return subprocess.Popen(
    [sys.executable, '-m', module, *map(str, arguments)],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(*processes: subprocess.Popen, patience: float = 500) -> None:
  """Waits for all; fails with the output of one that did not end well."""
  try:
    for process in processes:
      output, _ = process.communicate(timeout=patience)
      assert process.returncode == 0, output[-3000:]
  finally:
    for process in processes:
      process.kill()


def unused_port() -> int:
  """A port on this machine that nobody listens to."""
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]
