"""Hostile HDF5 files: one clear error that names file and key, soon, in little memory."""

import resource
import time
import zlib

import h5py
import numpy as np
import pytest

from multirater_jax.data.errors import DataError
from tfds_builders.npc.dummy_data import volume, write_hdf5
from tfds_builders.npc.hdf5 import read_arrays

KEYS = ('t1', 't1c', 't2', 'label_a1', 'label_a2', 'label_a3', 'label_a4')


@pytest.fixture
def path(tmp_path):
  return write_hdf5(tmp_path / 'a.h5', *volume(0))


def refuse(path, message, *, seconds=1, megabytes=60):
  before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
  with pytest.raises(DataError, match=message):
    read_arrays(path, KEYS)
  assert time.process_time() - start < seconds
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes * 1024


def change(path, key, make=None):
  with h5py.File(path, 'a') as file:
    if key in file:
      del file[key]
    if make:
      make(file)


def test_arrays_come_back(path):
  arrays = read_arrays(path, KEYS)
  np.testing.assert_array_equal(arrays['t1c'], volume(0)[0][1])
  np.testing.assert_array_equal(arrays['label_a4'], volume(0)[1][3])


@pytest.mark.parametrize(
  'options',
  [
    {},
    {'chunks': (1, 5, 4)},
    {'compression': 'gzip'},
    {'compression': 'gzip', 'shuffle': True, 'fletcher32': True},
  ],
)
def test_storage_that_is_allowed(path, options):
  array = np.ones((3, 20, 16), np.float64)
  change(path, 't1', lambda file: file.create_dataset('t1', data=array, **options))
  np.testing.assert_array_equal(read_arrays(path, KEYS)['t1'], array)


def test_a_missing_key_is_named_with_those_there(path):
  change(path, 'label_a3')
  refuse(path, r'a\.h5 lacks label_a3; it holds label_a1, label_a2, label_a4')


@pytest.mark.parametrize('shape', [(3, 20, 15), (20, 16), (1, 1, 20, 16)])
def test_other_shapes(path, shape):
  change(path, 'label_a2', lambda file: file.create_dataset('label_a2', data=np.zeros(shape)))
  refuse(path, r'label_a2 has shape .* but t1 has shape \(3, 20, 16\)')


@pytest.mark.parametrize(
  'link', [h5py.ExternalLink('/etc/hostname', '/x'), h5py.ExternalLink('b.h5', 't1')]
)
def test_external_links_are_never_followed(path, link):
  write_hdf5(path.with_name('b.h5'), *volume(1))
  change(path, 't1', lambda file: file.__setitem__('t1', link))
  refuse(path, 't1 is a ExternalLink; links are not followed')


def test_loops_of_soft_links(path):
  def loop(file):
    file['t1'] = h5py.SoftLink('/t3')
    file['t3'] = h5py.SoftLink('/t1')

  change(path, 't1', loop)
  refuse(path, 't1 is a SoftLink')


def test_values_in_other_files(path):
  (path.parent / 'raw').write_bytes(bytes(3 * 20 * 16))
  outside = [(str(path.parent / 'raw'), 0, 3 * 20 * 16)]
  change(
    path,
    't1',
    lambda file: file.create_dataset('t1', (3, 20, 16), dtype='u1', external=outside),
  )
  refuse(path, 't1 lie in another file')
  layout = h5py.VirtualLayout((3, 20, 16), 'f4')
  layout[:] = h5py.VirtualSource(path.with_name('b.h5'), 't1', (3, 20, 16))
  change(path, 't1', lambda file: file.create_virtual_dataset('t1', layout))
  refuse(path, 't1 lie in another file')


@pytest.mark.parametrize(
  'make,message',
  [
    (lambda file: file.create_group('t1'), 't1 is a Group'),
    (lambda file: file.create_dataset('t1', data='text'), 't1 holds object'),
    (lambda file: file.create_dataset('t1', data=[1j]), 't1 holds complex128'),
    (lambda file: file.create_dataset('t1', dtype='f4', data=h5py.Empty('f4')), 'shape None'),
    (lambda file: file.create_dataset('t1', (0, 20, 16), 'f4'), 'shape'),
    (
      lambda file: file.create_dataset('t1', (3, 20, 16), 'f4', compression='lzf'),
      'uses the filters',
    ),
  ],
)
def test_other_kinds(path, make, message):
  change(path, 't1', make)
  refuse(path, message)


@pytest.mark.parametrize(
  'shape,chunks,message',
  [
    ((30000, 30000, 30000), (1, 100, 100), 'voxels; the limit is'),
    ((250, 1000, 1000), (250, 1000, 1000), None),
    ((2, 3, 4), (1, 2**15, 2**15), 'blocks of'),
  ],
)
def test_bombs_are_refused_before_they_are_read(path, shape, chunks, message):
  with h5py.File(path, 'a') as file:
    for key in KEYS:
      del file[key]
      plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
      plist.set_chunk(chunks)
      plist.set_deflate(9)
      space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED,) * 3)
      kind = h5py.h5t.NATIVE_DOUBLE if message is None else h5py.h5t.NATIVE_UINT8
      h5py.h5d.create(file.id, key.encode(), kind, space, plist)
  refuse(path, message or r'a\.h5 holds 14000000000 bytes')


def test_a_block_that_unpacks_to_more_than_it_says(path):
  def bomb(file):
    dataset = file.create_dataset('t1', (3, 20, 16), 'f4', chunks=(3, 20, 16), compression='gzip')
    dataset.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(2**20), 9))
    packer = zlib.compressobj(9)
    packed = b''.join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    file['t2'].id.write_direct_chunk((0, 0, 0), packed)

  change(path, 't1', bomb)
  refuse(path, r't1 has a block that unpacks to more than its 3840 bytes|damaged block')


@pytest.mark.parametrize('content', [b'', b'garbage' * 99, b'\x89HDF\r\n\x1a\n' + bytes(600)])
def test_garbage(path, content):
  path.write_bytes(content)
  refuse(path, r'Cannot read .*a\.h5')


def test_cut_files(path):
  whole = path.read_bytes()
  for length in (8, 100, len(whole) // 2, len(whole) - 100):
    path.write_bytes(whole[:length])
    refuse(path, r'Cannot read .*a\.h5')


def test_a_damaged_block(path):
  def garbage(file):
    dataset = file.create_dataset('t1', (3, 20, 16), 'f4', chunks=(3, 20, 16), compression='gzip')
    dataset.id.write_direct_chunk((0, 0, 0), b'garbage')

  change(path, 't1', garbage)
  refuse(path, r'a\.h5:t1 has a damaged block at \(0, 0, 0\)')
