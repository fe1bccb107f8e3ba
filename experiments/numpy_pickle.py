"""Reading arrays and plain containers from a pickle, and nothing else.

This stands apart from the library, which reads no pickles. A pickle is a program; here every name
it may call is one of a handful of functions below, which build arrays of numbers from raw bytes.
Any other name ends the reading with an error that tells it.
"""

import math
import os
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from multirater_jax.data.errors import DataError

_NUMBERS = re.compile(r'[<>|=]?(b1|[iu][1248]|f[248])')
_BROKEN = (
  *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError),
  *(ArithmeticError, MemoryError, RecursionError, ImportError),
)


def read_pickle(path: str | os.PathLike) -> Any:
  """Dicts, lists, tuples, strings, numbers and NumPy arrays of numbers.

  Raises:
    DataError: for a damaged file, and for every name that is not allowed; nothing of it runs.
  """
  try:
    with open(path, 'rb') as file:
      return _plain(_Unpickler(file, encoding='latin1').load())
  except DataError as error:
    raise DataError(f'{path}: {error}') from error
  except _BROKEN as error:
    reason = str(error).strip().rstrip('.') or type(error).__name__
    raise DataError(f'Cannot read the pickle {path}: {reason}.') from error


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    """The stand-in for a name of NumPy; whatever else is asked for is refused."""
    known = module.replace('numpy._core', 'numpy.core').replace('__builtin__', 'builtins')
    allowed = _ALLOWED.get((known, name))
    if allowed is None:
      raise DataError(f'it asks for {module}.{name}, which is not allowed; nothing of it was run.')
    return allowed

  def persistent_load(self, key: Any) -> Any:
    """Refuses references to objects outside the file."""
    raise DataError(f'it refers to {key!r} outside the file, which is not allowed.')


class _Type:
  """Stands for a NumPy type; takes the byte order that follows it."""

  def __init__(self, code: str, *_: Any):
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
      raise DataError(f'it holds arrays of type {code!r}; only numbers are allowed.')
    self.code = code.lstrip('<>|=')
    self.order = '<'

  def __setstate__(self, state: tuple) -> None:
    if state[1] not in ('<', '>', '|', '='):
      raise DataError(f'it holds arrays of byte order {state[1]!r}.')
    self.order = '>' if state[1] == '>' else '<'

  def build(self) -> np.dtype:
    return np.dtype(self.order + self.code)


class _Array:
  """Stands for a NumPy array until its bytes are there."""

  def __init__(self) -> None:
    self.value: np.ndarray | None = None

  def __setstate__(self, state: tuple) -> None:
    _, shape, kind, fortran, data = state
    self.value = _build(data, kind, shape, 'F' if fortran else 'C')


def _build(data: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
  if not isinstance(kind, _Type) or not isinstance(data, bytes | bytearray | str):
    raise DataError('it holds an array that is no block of numbers.')
  if isinstance(data, str):
    data = data.encode('latin1')
  dtype, shape = kind.build(), tuple(int(size) for size in shape)
  if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
    raise DataError(f'it holds an array of shape {shape} with {len(data)} bytes.')
  return np.frombuffer(data, dtype).reshape(shape, order=order)


def _reconstruct(*_: Any) -> _Array:
  return _Array()


def _frombuffer(data: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
  return _build(bytes(data), kind, shape, 'F' if order == 'F' else 'C')


def _scalar(kind: Any, data: Any) -> int | float | bool:
  return _build(data, kind, (1,), 'C')[0].item()


def _encode(text: str, encoding: str) -> bytes:
  if encoding != 'latin1' or not isinstance(text, str):
    raise DataError(f'it encodes text as {encoding!r}, which is not allowed.')
  return text.encode('latin1')


def _no_bytes(*arguments: Any) -> bytes:
  if arguments:
    raise DataError('it calls bytes, which is not allowed.')
  return b''


def _ndarray(*_: Any) -> None:
  raise DataError('it calls numpy.ndarray, which is not allowed.')


_ALLOWED: dict[tuple[str, str], Callable] = {
  ('numpy.core.multiarray', '_reconstruct'): _reconstruct,
  ('numpy.core.multiarray', 'scalar'): _scalar,
  ('numpy.core.numeric', '_frombuffer'): _frombuffer,
  ('numpy', 'ndarray'): _ndarray,
  ('numpy', 'dtype'): _Type,
  ('_codecs', 'encode'): _encode,
  ('builtins', 'bytes'): _no_bytes,  # how old protocols write empty bytes
}


def _plain(value: Any, seen: dict[int, Any] | None = None) -> Any:
  """The containers with arrays in place of their stand-ins; what is shared stays shared."""
  seen = {} if seen is None else seen
  if isinstance(value, _Array):
    if value.value is None:
      raise DataError('it holds an array without content.')
    return value.value
  if not isinstance(value, dict | list | tuple):
    return value
  if id(value) not in seen:
    seen[id(value)] = None  # a cycle ends in None
    if isinstance(value, dict):
      seen[id(value)] = {key: _plain(item, seen) for key, item in value.items()}
    else:
      seen[id(value)] = [_plain(item, seen) for item in value]
  return seen[id(value)]
