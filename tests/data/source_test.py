import json
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source, rank_by_area
from tfds_builders.records import digest


def areas(record):
  return np.count_nonzero(record['masks'], axis=(1, 2))


def test_records_equal_the_side_file(tiny):
  for index, line in enumerate(tiny.info.records):
    record = tiny[index]
    assert digest(record) == line['digest']
    assert tiny.case_names[record['case']] == line['case']
    drawn = [None if a is None else int(a) for a in line['areas']]
    assert [a if on else None for a, on in zip(areas(record), record['annotated'])] == drawn
    assert record['masks'].shape[1:] == tuple(line['size'])


def test_defaults_to_identity_where_raters_are_persons(tiny):
  assert tiny.rater_order == 'identity'
  assert tiny.raters == ['rater 1', 'rater 2', 'rater 3']


def test_area_rank_sorts_by_area_with_absent_raters_last(tiny_dir):
  source = Source(tiny_dir, rater_order='area_rank')
  missing = 0
  for index in range(len(source)):
    record = source[index]
    present = record['annotated'].sum()
    assert record['annotated'][:present].all()
    assert (np.diff(areas(record)[:present]) >= 0).all()
    missing += present == 2
  assert missing == 4
  assert source.raters[0] == 'area rank 1'


@given(st.lists(st.none() | st.integers(0, 5), max_size=6))
def test_rank_by_area_is_a_permutation(areas):
  order = rank_by_area(areas)
  assert sorted(order) == list(range(len(areas)))
  keys = [(areas[r] is None, areas[r] or 0) for r in order]
  assert keys == sorted(keys)


def test_unknown_order_is_refused(tiny_dir):
  with pytest.raises(DataError, match='area_rank'):
    Source(tiny_dir, rater_order='size')


def test_cache_keeps_to_its_budget(tiny_dir):
  full, none = Source(tiny_dir, cache_mb=1), Source(tiny_dir, cache_mb=0)
  assert full[0] is full[0]
  assert none[0] is not none[0]
  with pytest.raises(ValueError, match='read-only'):
    full[0]['masks'][0, 0, 0] = 1


def test_threads_share_one_source(tiny_dir):
  source = Source(tiny_dir)
  wrong = []

  def read():
    for index in range(len(source)):
      if digest(source[index]) != source.info.records[index]['digest']:
        wrong.append(index)

  threads = [threading.Thread(target=read) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong
  assert source._room >= 0


def damaged_copy(tiny_dir, tmp_path, damage):
  copy = tmp_path / 'set'
  shutil.copytree(tiny_dir, copy)
  (shard,) = copy.glob('*.array_record*')
  damage(shard)
  return copy


def flip_byte(shard):
  data = bytearray(shard.read_bytes())
  data[2000] ^= 0xFF
  shard.write_bytes(data)


@pytest.mark.parametrize(
  'damage',
  [
    flip_byte,
    lambda shard: shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2]),
    lambda shard: shard.write_bytes(shard.read_bytes()[:-100]),
    lambda shard: shard.write_bytes(b''),
    lambda shard: shard.unlink(),
  ],
  ids=['flipped byte', 'half', 'tail', 'empty', 'missing'],
)
def test_a_damaged_shard_says_where_and_what_to_do(tiny_dir, tmp_path, damage):
  copy = damaged_copy(tiny_dir, tmp_path, damage)
  with pytest.raises(DataError, match='prepare the set again') as caught:
    source = Source(copy)
    for index in range(len(source)):
      source[index]
  assert str(copy) in str(caught.value)
  assert 'delete this folder' in str(caught.value)


@pytest.mark.parametrize('damage', [flip_byte, lambda shard: shard.unlink()])
def test_the_damaged_one_of_several_shards_is_named(tmp_path, damage):
  import tensorflow_datasets as tfds

  from tfds_builders.phantom.phantom_dataset_builder import Builder, configure
  from tfds_builders.records import write_records

  builder = Builder(data_dir=tmp_path, config=configure(size=32, num_images=12))
  builder.download_and_prepare(
    file_format='array_record', download_config=tfds.download.DownloadConfig(num_shards=3)
  )
  write_records(builder.data_path)
  shard = sorted(builder.data_path.glob('*.array_record*'))[1]
  damage(shard)
  with pytest.raises(DataError, match=shard.name):
    source = Source(builder.data_path)
    for index in range(len(source)):
      source[index]


def test_no_flipped_byte_changes_a_record_unnoticed(tiny_dir, tmp_path):
  (shard,) = tiny_dir.glob('*.array_record*')
  places = np.random.default_rng(0).integers(0, shard.stat().st_size, 120)
  noticed = 0
  for number, place in enumerate(places):

    def flip(file):
      data = bytearray(file.read_bytes())
      data[place] ^= 1 << number % 8
      file.write_bytes(data)

    copy = damaged_copy(tiny_dir, tmp_path / str(number), flip)
    try:
      source = Source(copy)
      for index, line in enumerate(source.info.records):
        assert digest(source[index]) == line['digest']
    except DataError:
      noticed += 1
  assert noticed


def test_a_side_file_of_another_set_is_noticed(tiny_dir, tmp_path):
  def swap(shard):
    path = shard.parent / 'records.json'
    lines = json.loads(path.read_text())
    path.write_text(json.dumps(lines[::-1]))

  source = Source(damaged_copy(tiny_dir, tmp_path, swap))
  with pytest.raises(DataError, match='differs from records'):
    source[0]


def test_an_unfinished_set_is_refused(tiny_dir, tmp_path):
  copy = damaged_copy(tiny_dir, tmp_path, lambda shard: (shard.parent / 'records.json').unlink())
  with pytest.raises(DataError, match='no finished data set'):
    Source(copy)
