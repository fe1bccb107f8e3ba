import collections
import pathlib
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from experiments.convert_pickle import convert
from experiments.numpy_pickle import read_pickle
from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from tfds_builders import prepare


def item(series='1.2.3_4', value=200.0, masks=None):
  image = np.full((6, 5), value)
  image[0, 0] = 0
  drawn = [np.eye(6, 5) for _ in range(4)] if masks is None else masks
  return {'series_uid': series, 'image': image, 'masks': drawn, 'alpha': image}


def save(path, data, protocol=4):
  path.write_bytes(pickle.dumps(data, protocol))
  return path


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_of_every_protocol_come_back(tmp_path, protocol):
  rng = np.random.default_rng(0)
  arrays = [
    rng.random((3, 4)),
    np.asfortranarray(rng.random((3, 4)).astype(np.float32)),
    rng.integers(0, 99, (2, 3, 4)).astype('>i2'),
    np.array([True, False]),
    np.zeros((0, 3), np.uint8),
  ]
  path = save(tmp_path / 'a.pkl', {'x': arrays, 'y': (1, 'two', np.float64(3))}, protocol)
  result = read_pickle(path)
  for got, array in zip(result['x'], arrays, strict=True):
    np.testing.assert_array_equal(got, array)
    assert got.dtype.kind == array.dtype.kind
  assert result['y'] == [1, 'two', 3.0]


def test_a_pickle_of_python_2_is_read(tmp_path):
  numbers = struct.pack('<3h', 1, 2, 300)
  code = (
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    b"(I1\n(I3\ntcnumpy\ndtype\n(S'i2'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS"
    + repr(numbers)[1:].encode()
    + b'\ntb.'
  )
  (tmp_path / 'a.pkl').write_bytes(code)
  np.testing.assert_array_equal(read_pickle(tmp_path / 'a.pkl'), [1, 2, 300])


def test_the_folder_layout_and_the_prepared_set(tmp_path):
  soft = np.zeros((6, 5))
  soft[0, :3] = 0.7
  soft[1] = 0.4
  data = {
    'b/../nodule 1': item('1.2.3_4', masks=[soft, soft * 0, np.eye(6, 5), np.ones((6, 5))]),
    'a': item('1.2.3_9'),
    'c': item('7.7'),
  }
  counts = convert(save(tmp_path / 'a.pkl', data), tmp_path / 'png')
  assert counts == {
    'slices': 3, 'cases': 2, 'masks': 12, 'empty masks': 1, 'masks with fractions': 1
  }  # fmt: skip
  source = Source(
    prepare('folder', tmp_path / 'data', manual_dir=tmp_path / 'png', rater_identity=False)
  )
  assert sorted(source.info.cases) == ['1.2.3', '1.2.3', '7.7']
  first = next(line for line in source.info.records if '00000' in line['name'])
  assert first['areas'] == [3, 0, 5, 30]
  assert source[0]['image'].dtype == np.uint8
  assert source[0]['image'].max() == 200
  assert source.rater_order == 'slot'


def test_images_up_to_one_become_16_bit(tmp_path):
  convert(save(tmp_path / 'a.pkl', {'a': item(value=0.25)}), tmp_path / 'png')
  (file,) = (tmp_path / 'png' / 'images').iterdir()
  pixels = np.asarray(Image.open(file))
  assert (pixels.max(), pixels.min()) == (16384, 0)


class Evil:
  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize(
  'attack',
  [
    lambda mark: Evil(exec, f'open({mark!r}, "w")'),
    lambda mark: Evil(eval, f'open({mark!r}, "w")'),
    lambda mark: Evil(pathlib.Path.touch, pathlib.Path(mark)),
    lambda mark: Evil(open, mark, 'w'),
    lambda mark: Evil(np.save, mark, 1),
    lambda mark: collections.OrderedDict(a=1),
    lambda mark: {'a': np.array([object()], dtype=object)},
    lambda mark: {'a': np.array(['text'])},
    lambda mark: {'a': np.zeros(2, [('x', 'f4')])},
  ],
)
@pytest.mark.parametrize('protocol', [0, 2, 5])
def test_a_hostile_pickle_runs_nothing_and_leaves_nothing(tmp_path, attack, protocol):
  mark = tmp_path / 'mark'
  data = {'a': item(), 'b': attack(str(mark))}
  path = save(tmp_path / 'a.pkl', data, protocol)
  with pytest.raises(DataError, match=r'not allowed|only numbers|no block of numbers'):
    convert(path, tmp_path / 'png')
  assert [file.name for file in tmp_path.iterdir()] == ['a.pkl']


@pytest.mark.parametrize(
  'code,message',
  [
    (b'cnumpy\nndarray\n(tR.', 'numpy.ndarray'),
    (b'c_codecs\nencode\n(Vabc\nVrot13\ntR.', "'rot13'"),
    (b'cnumpy.core.multiarray\n__builtins__\n.', r'numpy\.core\.multiarray\.__builtins__'),
    (b'cos\nsystem\n(S"true"\ntR.', 'os.system'),
    (b'cnumpy.core.multiarray\n_reconstruct.__globals__\n.', 'not allowed'),
    (b'Pother\n.', 'outside the file'),
    (b'cnumpy\ndtype\n(S"O"\ntR.', "type 'O'"),
    (b'', 'Cannot read'),
    (b'\x80\x04garbage', 'Cannot read'),
  ],
)
def test_single_opcodes(tmp_path, code, message):
  (tmp_path / 'a.pkl').write_bytes(code)
  with pytest.raises(DataError, match=message):
    read_pickle(tmp_path / 'a.pkl')


def test_a_forged_shape_is_refused(tmp_path):
  data = pickle.dumps(np.zeros((3, 5)), 2).replace(b'K\x03K\x05\x86', b'K\x03K\x63\x86')
  (tmp_path / 'a.pkl').write_bytes(data)
  with pytest.raises(DataError, match=r'shape \(3, 99\) with 120 bytes'):
    read_pickle(tmp_path / 'a.pkl')


def test_shared_lists_do_not_multiply(tmp_path):
  data = []
  for _ in range(60):
    data = [data, data]
  assert len(read_pickle(save(tmp_path / 'a.pkl', data))) == 2


@pytest.mark.parametrize(
  'data,message',
  [
    ([], 'no dict of slices'),
    ({'a': 1}, "item 'a' is no dict"),
    ({'a': item(masks=[np.zeros((5, 5))])}, r'mask 0 has shape \(5, 5\) but'),
    ({'a': item(masks=[np.full((6, 5), 2.0)])}, 'values from 2 to 2'),
    ({'a': item(), 'b': item(masks=[np.zeros((6, 5))])}, 'has 1 masks; the first item has 4'),
    ({'a': item(series='_4')}, 'names no case'),
    ({'a': item(series=3)}, 'names no case'),
    ({'a': item(value=300)}, 'intensities from 0 to 300'),
    ({'a': item(value=np.nan)}, 'not finite'),
    ({'a': item() | {'image': 'text'}}, 'no array'),
  ],
)
def test_other_contents_are_refused(tmp_path, data, message):
  with pytest.raises(DataError, match=message):
    convert(save(tmp_path / 'a.pkl', data), tmp_path / 'png')
  assert [file.name for file in tmp_path.iterdir()] == ['a.pkl']


def test_an_existing_folder_is_kept(tmp_path):
  (tmp_path / 'png').mkdir()
  with pytest.raises(DataError, match='exists'):
    convert(save(tmp_path / 'a.pkl', {'a': item()}), tmp_path / 'png')
