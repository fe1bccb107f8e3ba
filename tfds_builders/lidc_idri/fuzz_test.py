"""Whatever the bytes, the reader returns or raises ``DataError``, soon and in bounded memory."""

import copy
import random
import resource
import time
from xml.etree import ElementTree

import hypothesis
import pytest
from hypothesis import strategies as st

from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri.annotations import Reading, Skipped, read_annotations
from tfds_builders.lidc_idri.dummy_data import Roi, annotation_xml, circle

BASE = annotation_xml(
  '1.2.3',
  [
    {'a': [Roi(1, circle(20, 20, 2), '5.5'), Roi(2, [(3, 3)])]},
    {'b': [Roi(1, circle(21, 20, 3), inclusion='FALSE')], 'c': [Roi(4, [(9, 9)])]},
  ],
)
TOKENS = [
  '<', '>', '/>', '&', '&lt;', '&#0;', '&#x10FFFF;', ']]>', '<!--', '-->', '<![CDATA[', '<?x ?>',
  '<!DOCTYPE a>', '<!ENTITY a "b">', '&a;', 'nan', '-inf', '1e999', '-1', '99999999999', '0x10',
  '٣', '1_0', '', ' ', '\x00', '\ufffe', 'encoding="utf-16"', 'encoding="x"', 'xmlns="q"',
  '<roi>', '</roi>', '<edgeMap>', '</edgeMap>', '<readingSession>', '<unblindedReadNodule>',
  'TRUE', 'FALSE', '<inclusion/>', '<a>' * 40,
]  # fmt: skip


def mutate(rng: random.Random) -> bytes:
  """An annotation file with a few accidents: of its elements, of its bytes, or both."""
  damage = rng.choice(('elements', 'elements', 'bytes', 'both'))
  data = BASE.encode() if damage == 'bytes' else _mutate_elements(rng)
  return data if damage == 'elements' else _mutate_bytes(data, rng)


def _mutate_elements(rng: random.Random) -> bytes:
  root = ElementTree.fromstring(BASE)
  for _ in range(rng.randint(1, 6)):
    elements = list(root.iter())
    one, other = rng.choice(elements), rng.choice(elements)
    kind = rng.randrange(5)
    if kind == 0:
      one.text = rng.choice(TOKENS)
    elif kind == 1:
      one.tag = other.tag
    elif kind == 2 and len(one):
      one.remove(rng.choice(one))
    elif kind == 3 and len(elements) < 2000:
      one.append(copy.deepcopy(other))
    elif len(one):
      random.Random(rng.random()).shuffle(children := list(one))
      one[:] = children
  if rng.random() < 0.05:
    root.tag = rng.choice(('{http://www.nih.gov/idri}IdriReadMessage', 'LidcReadMessage', 'a'))
  return ElementTree.tostring(root, 'utf-8')


def _mutate_bytes(data: bytes, rng: random.Random) -> bytes:
  for _ in range(rng.randint(1, 6)):
    place, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    end = min(end, place + rng.choice((1, 4, 60, 2000)))
    piece = rng.choice(
      (
        bytes([rng.randrange(256)]),
        rng.choice(TOKENS).encode('utf-8', 'surrogatepass'),
        data[place:end] * 2,
        b'',
      )
    )
    data = data[:place] + piece + data[end:]
  if rng.random() < 0.05:
    data = data.decode('utf-8', 'replace').encode(rng.choice(('utf-16', 'utf-16-le', 'utf-32')))
  return data


def survive(path, seed: int, count: int) -> dict[str, int]:
  """Reads ``count`` mutations; returns how many ended in which way."""
  rng = random.Random(seed)
  ends = {'Reading': 0, 'Skipped': 0, 'DataError': 0}
  for _ in range(count):
    path.write_bytes(mutate(rng))
    start = time.process_time()
    try:
      result = read_annotations(path)
      assert isinstance(result, Reading | Skipped)
      ends[type(result).__name__] += 1
    except DataError as error:
      assert '\n' not in str(error)
      ends['DataError'] += 1
    assert time.process_time() - start < 1
  return ends


@hypothesis.given(st.integers(0, 2**32))
@hypothesis.settings(
  max_examples=40,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_mutations(tmp_path, seed):
  survive(tmp_path / 'file.xml', seed, 10)


@hypothesis.given(st.binary(max_size=200))
@hypothesis.settings(
  max_examples=100,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_bytes(tmp_path, data):
  path = tmp_path / 'file.xml'
  path.write_bytes(data)
  with pytest.raises(DataError):
    read_annotations(path)


@pytest.mark.slow
def test_many_mutations(tmp_path):
  path = tmp_path / 'file.xml'
  survive(path, 0, 100)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  start = time.time()
  ends = survive(path, 1, 100_000)
  print(ends, f'{time.time() - start:.0f} s')
  assert sum(ends.values()) == 100_000
  assert min(ends.values()) > 1000
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
