"""Keeps freed memory in the process, where the C library would hand it back after every step."""

import contextlib
import ctypes

# Numbers of <malloc.h>, and what they are set to.
_SETTINGS = {
  -8: 1,  # M_ARENA_MAX: arenas of threads give their memory back whatever else is said
  -4: 0,  # M_MMAP_MAX: no mapping of its own for a large buffer
  -1: 2**31 - 1,  # M_TRIM_THRESHOLD: bytes at the end of the heap that stay
  -2: 2**26,  # M_TOP_PAD: bytes by which the heap grows
}


def keep_freed() -> None:
  """Asks glibc to keep what is freed; elsewhere nothing happens.

  XLA on CPU allocates its buffers anew at every step. Each page of them costs a page fault: a
  fifth of the time of a training step of ``harmonized`` (64x64, 16 images). The price is memory: a
  whole run of it peaks at 2.9 GB instead of 1.9.
  """
  with contextlib.suppress(AttributeError, OSError, TypeError):
    libc = ctypes.CDLL(None)
    for number, value in _SETTINGS.items():
      libc.mallopt(number, value)
