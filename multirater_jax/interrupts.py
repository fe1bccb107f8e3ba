"""SIGTERM and SIGINT as a flag that a loop looks at between two steps."""

import os
import signal
import threading
import types
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupts:
  """While it is open, the first SIGTERM or SIGINT only sets ``signal``; the second one kills.

  The loop saves and leaves with ``sys.exit(exit_code(interrupts.signal))``. Outside the main
  thread, where Python cannot set handlers, it does nothing. The earlier handlers come back at the
  end.
  """

  def __init__(self) -> None:
    self.signal: int | None = None
    self._earlier: dict[int, Any] = {}

  def __enter__(self) -> 'Interrupts':
    if threading.current_thread() is threading.main_thread():
      self._earlier = {number: signal.signal(number, self._receive) for number in SIGNALS}
    return self

  def __exit__(self, *exception: object) -> None:
    for number, handler in self._earlier.items():
      # None stands for a handler that was not set from Python and cannot be set back.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
    self._earlier = {}

  def _receive(self, number: int, frame: types.FrameType | None) -> None:
    if self.signal is None:
      self.signal = number
    else:
      signal.signal(number, signal.SIG_DFL)
      os.kill(os.getpid(), number)


def exit_code(number: int) -> int:
  """The exit code of a program that ended on a signal: 143 for SIGTERM, 130 for SIGINT."""
  return 128 + number
