"""Parses an XML file nobody vouches for: no document type, bounded size, depth and elements."""

import os
import pathlib
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from multirater_jax.data.errors import DataError

MAX_BYTES = 2**24  # real files have up to some hundred kilobytes
MAX_DEPTH = 32  # the archive nests 6 deep
MAX_ELEMENTS = 400_000


def read_tree(path: str | os.PathLike) -> Element:
  """The root element of an XML file in UTF-8, UTF-16 or an 8-bit encoding it declares.

  Raises:
    DataError: for a file that is not well-formed, declares a document type (thus any entity), or
      exceeds the bounds on bytes, depth and elements.
  """
  path = pathlib.Path(path)
  if path.stat().st_size > MAX_BYTES:
    raise DataError(f'{path} has over {MAX_BYTES} bytes; this is no annotation file, remove it.')
  return parse_tree(path.read_bytes(), str(path))


def parse_tree(data: bytes, name: str) -> Element:
  """The root element of XML text; ``name`` stands for it in errors. See ``read_tree``."""
  parser = defusedxml.ElementTree.XMLParser(target=_Bounded(name), forbid_dtd=True)
  try:
    parser.feed(data)
    return parser.close()
  except DataError:
    raise
  except DefusedXmlException as error:
    raise DataError(f'{name} declares a document type or entity; remove the file.') from error
  except ParseError as error:
    line = getattr(error, 'position', (0, 0))[0]
    reason = str(error).partition(':')[0]
    raise DataError(f'{name}, line {line}: no well-formed XML ({reason}); get it again.') from error
  except (ValueError, LookupError, AssertionError) as error:  # encodings expat does not know
    raise DataError(f'{name} cannot be decoded ({error}); save it as UTF-8.') from error


class _Bounded:
  """A parser target: builds the tree and stops where it grows too deep or too large."""

  def __init__(self, name: str):
    self._name = name
    self._builder = TreeBuilder()
    self._depth = 0
    self._elements = 0
    self._end = self._builder.end
    self.data = self._builder.data
    self.close = self._builder.close

  def start(self, tag: str, attributes: dict[str, str]) -> Any:
    self._depth += 1
    self._elements += 1
    if self._depth > MAX_DEPTH or self._elements > MAX_ELEMENTS:
      what = f'nests over {MAX_DEPTH}' if self._depth > MAX_DEPTH else f'has over {MAX_ELEMENTS}'
      raise DataError(f'{self._name} {what} elements; this is no annotation file, remove it.')
    return self._builder.start(tag, attributes)

  def end(self, tag: str) -> Any:
    self._depth -= 1
    return self._end(tag)
