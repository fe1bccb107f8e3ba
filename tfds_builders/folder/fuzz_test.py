"""Whatever the bytes, the readers return or raise ``DataError``, soon and in bounded memory."""

import contextlib
import csv
import gzip
import io
import random
import resource
import struct
import time
import warnings
import zlib

import hypothesis
import nibabel
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from multirater_jax.data.errors import DataError
from tfds_builders import images
from tfds_builders.folder import dummy_data, layout
from tfds_builders.folder.manifest import find_manifest

MEGABYTES = 512  # an image of the largest size that is opened, in float32, has 358
ODD = (0, 1, 2, 3, 4, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
CELLS = [
  '', ' ', '"', '""', '"\n', ',', ';', '\r', '\n', '\t', '\0', '\ufeff', '../a.png', '/etc/passwd',
  '.', '..', 'images', 'images/a.png', 'images/b.png', 'rater_1/a.png', 'image', 'case', 'rater_1',
  'rater_', 'rater_x', 'p' * 300 + '.png', '~/a.png', 'a\\b.png', '٣', '\ud800', 'nan', '=1+1',
]  # fmt: skip


def encoded(name, array, **options):
  file = io.BytesIO()
  Image.fromarray(array).save(file, name, **options)
  return file.getvalue()


def bases():
  """A valid file of every kind, by suffix and variant."""
  rng = np.random.default_rng(0)
  gray = rng.integers(0, 256, (12, 10)).astype(np.uint8)
  color = rng.integers(0, 256, (12, 10, 3)).astype(np.uint8)
  volume = nibabel.Nifti1Image(rng.integers(0, 2, (6, 5, 4)).astype(np.int16), np.eye(4))
  second = nibabel.Nifti2Image((gray > 99).astype(np.float32), np.eye(4))
  pages = [Image.fromarray(gray)]
  paged = io.BytesIO()
  pages[0].save(paged, 'TIFF', save_all=True, append_images=pages)
  return [
    ('.png', encoded('PNG', gray)),
    ('.png', encoded('PNG', color)),
    ('.png', encoded('PNG', gray.astype(np.uint16) * 257)),
    ('.png', encoded('PNG', gray > 99)),
    ('.jpg', encoded('JPEG', gray)),
    ('.jpg', encoded('JPEG', color, progressive=True)),
    ('.tif', encoded('TIFF', gray)),
    ('.tif', encoded('TIFF', gray.astype(np.uint16), compression='tiff_lzw')),
    ('.tif', encoded('TIFF', gray.astype(np.float32), compression='tiff_deflate')),
    ('.tif', paged.getvalue()),
    ('.nii', volume.to_bytes()),
    ('.nii', second.to_bytes()),
    ('.nii.gz', volume.to_bytes()),
    ('.csv', b'image,case,rater_1,rater_2\nimages/a.png,p,rater_1/a.png,\nimages/b.png,q,,\n'),
  ]


def mutate(rng, suffix, data):
  """The file with a few accidents, in its structure, in its bytes, or both."""
  if suffix == '.csv':
    structured = _mutate_table(rng, data)
  elif suffix == '.png':
    structured = _mutate_chunks(rng, data)
  else:
    structured = _mutate_header(rng, data)
  damage = rng.choice(('structure', 'structure', 'bytes', 'both'))
  data = data if damage == 'bytes' else structured
  if suffix == '.nii.gz':
    packed = rng.random() < 0.3
    data = data if damage == 'structure' or packed else _mutate_bytes(rng, data)
    data = gzip.compress(data, 1)
    return _mutate_bytes(rng, data) if packed else data
  return data if damage == 'structure' else _mutate_bytes(rng, data)


def _mutate_bytes(rng, data):
  for _ in range(rng.randint(1, 6)):
    place, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    end = min(end, place + rng.choice((1, 2, 4, 60)))
    piece = rng.choice(
      (bytes([rng.randrange(256)]), struct.pack('<I', rng.choice(ODD)), data[place:end] * 2, b'')
    )
    data = data[:place] + piece + data[end:]
  return data[: rng.randint(0, len(data))] if rng.random() < 0.1 else data


def _mutate_header(rng, data):
  """Odd numbers of any width and byte order in the first bytes, where dimensions lie."""
  data = bytearray(data)
  for _ in range(rng.randint(1, 4)):
    code = rng.choice(('<h', '>h', '<i', '>i', '<f', '>f', '<d', '<q', 'B'))
    size = struct.calcsize(code)
    value = rng.choice((*ODD, -1, float('nan'), float('inf'), 1e30, 0.5))
    value = float(value) if code[-1] in 'fd' else _whole(value, size, signed=code != 'B')
    place = rng.randrange(0, min(len(data), 360) - size)
    struct.pack_into(code, data, place if rng.random() < 0.5 else place // 2 * 2, value)
  return bytes(data)


def _whole(value, size, *, signed):
  number = int(value) if value == value and abs(value) < 1e20 else 1
  return int.from_bytes((number % 2 ** (8 * size)).to_bytes(size, 'big'), 'big', signed=signed)


def _mutate_chunks(rng, data):
  """Chunks of a PNG removed, repeated, swapped, or filled with odd numbers; checksums are right."""
  chunks, place = [], 8
  while place < len(data):
    (length,) = struct.unpack('>I', data[place : place + 4])
    chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
    place += 12 + length
  for _ in range(rng.randint(1, 4)):
    index = rng.randrange(len(chunks))
    kind, content = chunks[index]
    action = rng.randrange(5)
    if action == 0:
      chunks.insert(rng.randrange(len(chunks) + 1), chunks[index])
    elif action == 1 and len(chunks) > 1:
      chunks.pop(index)
    elif action == 2:
      kind = rng.choice((b'tEXt', b'zTXt', b'iCCP', b'PLTE', b'tRNS', b'acTL', b'fcTL', b'eXIf'))
      chunks[index] = kind, content
    elif kind == b'IHDR' and len(content) == 13:
      number = struct.pack('>I', rng.choice(ODD))
      where = rng.choice((0, 4, 5, 9))
      chunks[index] = kind, (content[:where] + number + content[where + 4 :])[:13]
    elif kind == b'IDAT':
      chunks[index] = kind, zlib.compress(bytes(rng.choice((0, 1, 10, 1000, 10**6))))
    else:
      chunks[index] = kind, _mutate_bytes(rng, content or b'a')
  return data[:8] + b''.join(
    struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    for kind, content in chunks
  )


def _mutate_table(rng, data):
  rows = list(csv.reader(io.StringIO(data.decode())))
  for _ in range(rng.randint(1, 2)):
    row = rng.choice(rows)
    action = rng.randrange(4)
    if action == 0 and row:
      row[rng.randrange(len(row))] = rng.choice(CELLS)
    elif action == 1:
      row.insert(rng.randint(0, len(row)), rng.choice(CELLS))
    elif action == 2 and row:
      row.pop(rng.randrange(len(row)))
    else:
      rows.insert(rng.randint(0, len(rows)), list(row))
  separator = rng.choice((*',,,,,,,', ';', '\t'))
  text = rng.choice(('\n', '\r\n', '\r')).join(separator.join(row) for row in rows)
  encoding = 'utf-16' if rng.random() < 0.03 else rng.choice(('utf-8', 'utf-8-sig'))
  return text.encode(encoding, 'surrogatepass')


def read(path):
  """What the builder does with a file of the name's kind."""
  if path.suffix == '.csv':
    return find_manifest(path.parent, '')
  layout.storage([path])
  if images.suffix(path) in images.NIFTI:
    volume = images.read_volume(path)
    images.to_unit(volume.voxels, path)
    return images.to_classes(volume.voxels, path, 2)
  shown = images.read_image(path, path)
  with contextlib.suppress(DataError):  # color is no mask
    images.read_mask(path, path, 256)
  return shown


def survive(root, seed, count):
  """Reads ``count`` mutations; returns how many of each kind ended in which way."""
  rng = random.Random(seed)
  valid = bases()
  ends = {}
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    for _ in range(count):
      suffix, data = rng.choice(valid)
      path = root / ('manifest.csv' if suffix == '.csv' else f'fuzz{suffix}')
      path.write_bytes(mutate(rng, suffix, data))
      start = time.process_time()
      try:
        read(path)
        end = 'read'
      except DataError as error:
        assert '\n' not in str(error)
        assert path.name in str(error)
        end = 'refused'
      assert time.process_time() - start < 2
      ends[suffix, end] = ends.get((suffix, end), 0) + 1
  return ends


@pytest.fixture
def root(tmp_path):
  return dummy_data.write_folders(tmp_path / 'manual')


def test_the_files_are_valid_before_they_are_damaged(root):
  refused = []
  for suffix, data in bases():
    path = root / ('manifest.csv' if suffix == '.csv' else f'fuzz{suffix}')
    path.write_bytes(gzip.compress(data) if suffix == '.nii.gz' else data)
    try:
      read(path)
    except DataError as error:
      refused.append(str(error))
  assert len(refused) == 1
  assert 'has 2 pages' in refused[0]


@hypothesis.given(st.integers(0, 2**32))
@hypothesis.settings(
  max_examples=15,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_mutations(root, seed):
  survive(root, seed, 20)


@hypothesis.given(st.sampled_from(('.png', '.jpg', '.tif', '.nii', '.nii.gz')), st.binary())
@hypothesis.settings(
  max_examples=60,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_bytes(root, suffix, data):
  path = root / f'fuzz{suffix}'
  path.write_bytes(data)
  with pytest.raises(DataError, match='fuzz'):
    read(path)


@pytest.mark.slow
def test_many_mutations(root):
  survive(root, 0, 500)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  start = time.process_time()
  ends = survive(root, 1, 60_000)
  grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
  print(ends, f'{time.process_time() - start:.0f} s, {grown:.0f} MB')
  assert sum(ends.values()) == 60_000
  assert min(ends.get((suffix, 'refused'), 0) for suffix, _ in bases()) > 1000
  assert grown < MEGABYTES
