import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from multirater_jax.interrupts import Interrupts, exit_code


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_first_signal_sets_the_flag_and_handlers_come_back(number):
  before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
  with Interrupts() as interrupts:
    assert interrupts.signal is None
    os.kill(os.getpid(), number)
    assert interrupts.signal == number
  assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == before
  assert exit_code(number) == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]


def test_handlers_come_back_after_an_error():
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(ZeroDivisionError), Interrupts():
    _ = 1 / 0
  assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize('second', [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_the_process_at_once(second):
  program = """
    import time
    from multirater_jax.interrupts import Interrupts
    with Interrupts() as interrupts:
      print('ready', flush=True)
      while interrupts.signal is None:
        time.sleep(0.01)
      print('first', flush=True)
      time.sleep(60)
  """
  process = subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
  )
  with process.stdout:
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'first\n'
    process.send_signal(second)
    assert process.wait(timeout=20) == -second


def test_other_threads_change_nothing():
  before, seen = signal.getsignal(signal.SIGTERM), []

  def work():
    with Interrupts() as interrupts:
      seen.append((signal.getsignal(signal.SIGTERM), interrupts.signal))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert seen == [(before, None)] and signal.getsignal(signal.SIGTERM) is before
