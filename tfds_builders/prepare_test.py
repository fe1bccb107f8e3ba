"""What preparation promises whatever the data set: once, whole or not at all."""

import errno
import importlib
import multiprocessing
import os
import pathlib
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders
from multirater_jax.data.errors import DataError
from tfds_builders import BUILDERS, prepare, read_info, records
from tfds_builders.folder import folder_dataset_builder as folder


@pytest.fixture
def manual(tmp_path):
  for name in ('images', 'rater_1', 'rater_2'):
    (tmp_path / 'manual' / name).mkdir(parents=True)
    for stem in 'abcd':
      drawn = np.full((8, 8), 255 if stem < 'c' or name == 'images' else 0, np.uint8)
      Image.fromarray(drawn).save(tmp_path / 'manual' / name / f'{stem}.png')
  return tmp_path / 'manual'


@pytest.mark.parametrize('name', BUILDERS)
def test_every_builder_follows_the_layout(name):
  module = importlib.import_module(BUILDERS[name])
  assert module.Builder.name == name
  assert callable(module.configure)
  package = pathlib.Path(module.__file__).parent
  for file in ('README.md', 'CITATIONS.bib', 'TAGS.txt', f'{name}_dataset_builder_test.py'):
    assert (package / file).is_file(), file


def test_unknown_names_are_refused(tmp_path):
  with pytest.raises(DataError, match="Unknown data set 'lidc'; there are folder"):
    prepare('lidc', tmp_path)


def test_a_second_call_builds_nothing(tmp_path, manual, monkeypatch, capfd):
  directory = prepare('folder', tmp_path / 'data', manual_dir=manual)
  times = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
  monkeypatch.setattr(folder.Builder, '_generate_examples', None)
  start = time.perf_counter()
  assert prepare('folder', tmp_path / 'data', manual_dir=manual) == directory
  assert time.perf_counter() - start < 0.5
  assert times == {path: path.stat().st_mtime_ns for path in directory.iterdir()}
  assert capfd.readouterr() == ('', '')


def test_the_hash_does_not_depend_on_place_or_time(tmp_path, manual):
  hashes = {
    read_info(prepare('folder', tmp_path / place, manual_dir=manual)).hash for place in ('x', 'y')
  }
  assert len(hashes) == 1


def failing(error):
  generate = folder.Builder._generate_examples

  def generator(self):
    for number, example in enumerate(generate(self)):
      if number == 2:
        raise error
      yield example

  return generator


@pytest.mark.parametrize(
  'error,raised',
  [
    (OSError(errno.ENOSPC, 'No space left on device'), DataError),
    (RuntimeError('bang'), RuntimeError),
  ],
)
def test_a_failed_run_leaves_no_set_and_the_next_one_succeeds(
  tmp_path, manual, monkeypatch, error, raised
):
  clean = read_info(prepare('folder', tmp_path / 'clean', manual_dir=manual)).hash
  data = tmp_path / 'data'
  with monkeypatch.context() as patch:
    patch.setattr(folder.Builder, '_generate_examples', failing(error))
    with pytest.raises(raised):
      prepare('folder', data, manual_dir=manual)
  assert not list(data.rglob('dataset_info.json'))
  assert not list(data.rglob('records.json'))
  assert read_info(prepare('folder', data, manual_dir=manual)).hash == clean


def test_a_full_disk_while_the_side_file_is_written_is_survived(tmp_path, manual, monkeypatch):
  def full(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(records.os, 'replace', full)
    patch.setattr(records, 'os', records.os)
    with pytest.raises(DataError, match='No space left on device'):
      prepare('folder', tmp_path / 'data', manual_dir=manual)
  directory = prepare('folder', tmp_path / 'data', manual_dir=manual)
  assert len(read_info(directory).records) == 4
  assert not list(directory.glob('*.tmp'))


def killed_while_writing(data, manual):
  def generator(self):
    yield from list(folder_generate(self))[:2]
    os._exit(9)

  folder_generate = folder.Builder._generate_examples
  folder.Builder._generate_examples = generator
  prepare('folder', data, manual_dir=manual)


def test_a_killed_run_is_cleaned_up(tmp_path, manual):
  data = tmp_path / 'data'
  process = multiprocessing.get_context('spawn').Process(
    target=killed_while_writing, args=(data, manual)
  )
  process.start()
  process.join(60)
  assert process.exitcode == 9
  assert list(data.rglob('incomplete.*'))
  directory = prepare('folder', data, manual_dir=manual)
  assert not list(data.rglob('incomplete.*'))
  clean = prepare('folder', tmp_path / 'clean', manual_dir=manual)
  assert read_info(directory).hash == read_info(clean).hash


def test_a_run_that_ended_before_the_side_file_is_finished_by_the_next(
  tmp_path, manual, monkeypatch
):
  data = tmp_path / 'data'
  with monkeypatch.context() as patch:
    patch.setattr(tfds_builders, 'write_records', lambda _: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
      prepare('folder', data, manual_dir=manual)
  (shard,) = data.rglob('*.array_record*')
  built = shard.stat().st_mtime_ns
  directory = prepare('folder', data, manual_dir=manual)
  clean = prepare('folder', tmp_path / 'clean', manual_dir=manual)
  assert read_info(directory).hash == read_info(clean).hash
  assert shard.stat().st_mtime_ns == built


def test_other_options_versions_and_files_build_another_set(tmp_path, manual, monkeypatch):
  data = tmp_path / 'data'
  folders = [prepare('folder', data, manual_dir=manual)]
  folders.append(prepare('folder', data, manual_dir=manual, num_classes=256))
  Image.fromarray(np.full((8, 8), 7, np.uint8)).save(manual / 'images' / 'a.png')
  folders.append(prepare('folder', data, manual_dir=manual))
  monkeypatch.setattr(folder.Builder, 'VERSION', tfds.core.Version('9.9.9'))
  monkeypatch.setattr(folder.Builder, 'RELEASE_NOTES', {'9.9.9': 'Newer.'})
  folders.append(prepare('folder', data, manual_dir=manual))
  assert len(set(folders)) == 4
  assert len({read_info(path).hash for path in folders[:3]}) == 3


def test_processes_that_prepare_at_once_agree(tmp_path, manual):
  context = multiprocessing.get_context('spawn')
  with context.Pool(2) as pool:
    calls = [
      pool.apply_async(prepare, ('folder', tmp_path / 'data'), {'manual_dir': manual})
      for _ in range(2)
    ]
    one, two = (call.get(60) for call in calls)
  assert one == two
  assert len(read_info(one).records) == 4


def test_two_records_of_one_name_are_refused(tmp_path, manual, monkeypatch):
  monkeypatch.setattr(
    records, 'summarize', lambda record: {'name': 'same', 'case': '', 'size': [], 'areas': []}
  )
  with pytest.raises(DataError, match='two records of one name'):
    prepare('folder', tmp_path / 'data', manual_dir=manual)


def test_an_absent_set_is_refused(tmp_path):
  with pytest.raises(DataError, match='no finished data set'):
    tfds_builders.read_info(tmp_path)
