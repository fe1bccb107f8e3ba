"""What builders say while they read: notes on odd things, errors on files they pass over."""

import contextlib
import logging
from collections.abc import Callable, Iterator

Say = Callable[[str, bool], None]  # the sentence, and whether something is broken


@contextlib.contextmanager
def heard(say: Say) -> Iterator[None]:
  """Within it, ``say`` gets every sentence of the builders, whatever the program does with logs."""
  logger = logging.getLogger(__package__)
  handler = _Handler(say)
  before = logger.level, logger.propagate
  logger.addHandler(handler)
  logger.setLevel(logging.WARNING)
  logger.propagate = False
  try:
    yield
  finally:
    logger.removeHandler(handler)
    logger.setLevel(before[0])
    logger.propagate = before[1]


class _Handler(logging.Handler):
  def __init__(self, say: Say):
    super().__init__()
    self._say = say

  def emit(self, record: logging.LogRecord) -> None:
    self._say(record.getMessage(), record.levelno >= logging.ERROR)
