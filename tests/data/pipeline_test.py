import itertools
import json
import shutil

import numpy as np
import pytest

from multirater_jax.data.errors import DataError
from multirater_jax.data.pipeline import prefetch, train_stream
from multirater_jax.data.source import Source

OPTIONS = {'batch_size': 4, 'size': 16, 'seed': 3}


def take(stream, count):
  batches = list(itertools.islice(stream, count))
  stream.close()
  return batches


def assert_same(one, two):
  assert len(one) == len(two)
  for left, right in zip(one, two):
    assert left.keys() == right.keys()
    for key in left:
      np.testing.assert_array_equal(left[key], right[key])


def test_batches_have_the_fields_shapes_and_types_of_the_interface(tiny):
  (batch,) = take(train_stream(tiny, np.arange(11), **OPTIONS), 1)
  kinds = {key: (value.shape, value.dtype.name) for key, value in batch.items()}
  assert kinds == {
    'image': ((4, 16, 16, 1), 'float32'),
    'masks': ((4, 3, 16, 16), 'uint8'),
    'annotated': ((4, 3), 'bool'),
    'case': ((4,), 'int32'),
    'index': ((4,), 'int32'),
  }
  assert 0 <= batch['image'].min() < 0.1 < 0.9 < batch['image'].max() <= 1


def test_every_pass_shows_every_record_once_in_a_new_order(tiny):
  records = np.array([1, 2, 5, 6, 7, 9])
  batches = take(train_stream(tiny, records, **OPTIONS | {'batch_size': 2}), 9)
  passes = np.concatenate([batch['index'] for batch in batches]).reshape(3, 6)
  np.testing.assert_array_equal(np.sort(passes), np.tile(records, (3, 1)))
  assert len({tuple(order) for order in passes.tolist()}) == 3


def test_two_processes_partition_the_stream_of_one(tiny):
  one = take(train_stream(tiny, np.arange(11), **OPTIONS | {'batch_size': 8}), 5)
  halves = [
    take(train_stream(tiny, np.arange(11), **OPTIONS, process_index=p, process_count=2), 5)
    for p in range(2)
  ]
  for whole, *parts in zip(one, *halves):
    for key, value in whole.items():
      for p in range(2):
        np.testing.assert_array_equal(value[p::2], parts[p][key])


@pytest.mark.parametrize('threads', [0, 1, 4])
def test_threads_do_not_change_the_stream(tiny, threads):
  one = take(train_stream(tiny, np.arange(11), **OPTIONS, num_threads=2), 8)
  assert_same(one, take(train_stream(tiny, np.arange(11), **OPTIONS, num_threads=threads), 8))


@pytest.mark.parametrize('done', [0, 1, 5])
def test_a_resumed_stream_continues_identically(tiny, done):
  stream = train_stream(tiny, np.arange(11), **OPTIONS)
  list(itertools.islice(stream, done))
  state = json.loads(json.dumps(stream.get_state()))
  rest = take(stream, 6)
  resumed = train_stream(tiny, np.arange(11), **OPTIONS)
  resumed.set_state(state)
  assert_same(rest, take(resumed, 6))


def test_other_processes_continue_a_stream(tiny):
  stream = train_stream(tiny, np.arange(11), **OPTIONS | {'batch_size': 8})
  list(itertools.islice(stream, 3))
  state, rest = stream.get_state(), take(stream, 3)
  for p in range(2):
    part = train_stream(tiny, np.arange(11), **OPTIONS, process_index=p, process_count=2)
    part.set_state(state)
    for whole, half in zip(rest, take(part, 3), strict=True):
      np.testing.assert_array_equal(whole['image'][p::2], half['image'])


@pytest.mark.parametrize('change', [{'seed': 4}, {'batch_size': 2}, {'process_count': 2}])
def test_a_position_of_another_stream_is_refused(tiny, change):
  state = train_stream(tiny, np.arange(11), **OPTIONS).get_state()
  other = train_stream(tiny, np.arange(11), **OPTIONS | change)
  with pytest.raises(DataError, match='another data stream'):
    other.set_state(state)


def test_prefetch_reports_the_position_after_the_batch_in_hand(tiny):
  plain = take(train_stream(tiny, np.arange(11), **OPTIONS), 7)
  stream = train_stream(tiny, np.arange(11), **OPTIONS)
  used = []
  for batch, state in prefetch(stream, lambda batch: batch, depth=3):
    used.append(batch)
    if len(used) == 4:
      break
  stream.close()
  resumed = train_stream(tiny, np.arange(11), **OPTIONS)
  resumed.set_state(state)
  assert_same(plain, used + take(resumed, 3))


@pytest.mark.parametrize('depth', [1, 2, 10])
def test_prefetch_ends_with_its_iterator_and_looks_ahead_by_depth(depth):
  placed = []
  for count, (value, state) in enumerate(prefetch(iter(range(6)), placed.append, depth=depth)):
    assert value is None
    assert state is None
    assert len(placed) == min(6, count + depth)
  assert placed == list(range(6))


def test_image_and_masks_are_cut_and_turned_alike(tiny, tiny_dir, monkeypatch):
  source = Source(tiny_dir)
  read = Source.__getitem__

  def marked(self, index):
    record = dict(read(self, index))
    record['masks'] = np.repeat((record['image'][None, ..., 0] > 127).astype(np.uint8), 3, axis=0)
    return record

  monkeypatch.setattr(Source, '__getitem__', marked)
  for batch in take(train_stream(source, np.arange(11), **OPTIONS), 6):
    expected = batch['image'][..., 0] > 0.5
    for rater in range(3):
      np.testing.assert_array_equal(batch['masks'][:, rater] == 1, expected)


def test_a_square_record_is_seen_in_all_eight_orientations(tiny):
  squares = [n for n, line in enumerate(tiny.info.records) if line['size'] == [20, 20]]
  (batch,) = take(train_stream(tiny, np.array(squares[:1]), batch_size=99, size=20, seed=0), 1)
  assert len({image.tobytes() for image in batch['image']}) == 8


def test_shuffle_draws_raters_anew_and_keeps_masks_with_their_flag(tiny_dir):
  source = Source(tiny_dir, rater_order='shuffle')
  (batch,) = take(train_stream(source, np.arange(11), batch_size=66, size=80, seed=0), 1)
  absent = np.argmin(batch['annotated'], axis=1)[~batch['annotated'].all(axis=1)]
  assert set(absent.tolist()) == {0, 1, 2}
  assert not batch['masks'][~batch['annotated']].any()
  assert batch['masks'][batch['annotated']].any(axis=(1, 2)).all()


def test_a_damaged_record_stops_the_stream_with_its_message(tiny_dir, tmp_path):
  copy = shutil.copytree(tiny_dir, tmp_path / 'set')
  (shard,) = copy.glob('*.array_record*')
  data = bytearray(shard.read_bytes())
  data[2000] ^= 0xFF
  shard.write_bytes(data)
  source = Source(copy)
  stream = train_stream(source, np.arange(11), **OPTIONS)
  with pytest.raises(DataError, match='prepare the set again'):
    take(stream, 3)


def test_bad_settings_are_refused(tiny):
  with pytest.raises(DataError, match='no record'):
    train_stream(tiny, np.array([], int), **OPTIONS)
  with pytest.raises(DataError, match='center, random'):
    train_stream(tiny, np.arange(3), **OPTIONS, crop='tile')
