import functools
import os
import time

import pytest

from multirater_jax.data.errors import DataError
from tfds_builders import parallel, prepare, read_info
from tfds_builders.folder import dummy_data as folder
from tfds_builders.lidc_idri import dummy_data as lidc
from tfds_builders.npc import dummy_data as npc
from tfds_builders.qubiq import dummy_data as qubiq


def square(number):
  return number * number, os.getpid()


def slow_first(number):
  time.sleep(0.5 * (number == 0))
  return number, os.getpid()


def ended(_):
  os._exit(3)


def records(number, broken):
  yield {'name': f'{number}a'}
  if number == broken:
    raise DataError(f'{number} is broken')
  yield {'name': f'{number}b'}


def names(broken=None):
  """What is read of three entries, with the errors in their places."""
  found = []
  entries = [(str(n), functools.partial(records, n, broken)) for n in range(3)]
  for examples in parallel.read(entries):
    try:
      for example in examples:
        found.append(example['name'])
    except DataError as error:
      found.append(str(error))
  return found


def test_one_job_stays_in_this_process_and_reads_when_asked():
  seen = []
  results = parallel.in_order(seen.append, range(3))
  next(results)
  assert seen == [0]
  assert [pid for _, pid in parallel.in_order(square, range(2))] == [os.getpid()] * 2


def test_several_jobs_keep_the_order():
  with parallel.jobs(2):
    found = list(parallel.in_order(slow_first, range(20), chunk=2))
  assert [number for number, _ in found] == list(range(20))
  pids = {pid for _, pid in found}
  assert os.getpid() not in pids
  assert len(pids) <= 2


def test_errors_come_where_they_happened_whatever_the_jobs():
  expected = ['0a', '0b', '1a', '1 is broken', '2a', '2b']
  assert names(broken=1) == expected
  with parallel.jobs(2):
    assert names(broken=1) == expected
    assert list(parallel.in_order(square, [])) == []


@pytest.mark.slow
def test_no_more_is_taken_than_is_under_way():
  taken = []

  def items():
    for number in range(40):
      taken.append(number)
      yield number

  with parallel.jobs(2):
    results = parallel.in_order(square, items())
    next(results)
    assert len(taken) <= 5
    results.close()


@pytest.mark.slow
def test_a_killed_worker_is_one_clear_error():
  with parallel.jobs(2), pytest.raises(DataError, match='use fewer jobs'):
    list(parallel.in_order(ended, range(4)))


def test_no_job_is_refused(tmp_path):
  with pytest.raises(DataError, match='0 jobs'):
    prepare('phantom', tmp_path, num_images=3, jobs=0)


SOURCES = {
  'phantom': (None, {'size': 16, 'num_images': 20}),
  'lidc_idri': (lidc.write_download, {}),
  'npc': (npc.write_challenge, {}),
  'qubiq': (qubiq.write_challenge, {}),
  'folder': (folder.write_folders, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', SOURCES)
def test_sets_do_not_depend_on_the_jobs(tmp_path, name):
  write, options = SOURCES[name]
  if write:
    write(tmp_path / 'manual')
    options = options | {'manual_dir': tmp_path / 'manual'}
  one, two = (
    prepare(name, tmp_path / f'data{jobs}', jobs=jobs, **options).absolute() for jobs in (1, 2)
  )
  assert read_info(one).hash == read_info(two).hash
  for file in ('counts.json', 'records.json'):
    if (one / file).is_file():
      assert (one / file).read_bytes() == (two / file).read_bytes()
