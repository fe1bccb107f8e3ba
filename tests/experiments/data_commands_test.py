"""The commands prepare and doctor, as a user starts them."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from experiments import command, data_flags, doctor, prepare
from multirater_jax import progress
from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from tfds_builders.lidc_idri import dummy_data
from tfds_builders.npc import dummy_data as npc

ROOT = Path(__file__).resolve().parents[2]
PHANTOM = ('--dataset=phantom', '--option=size=16', '--option=num_images=6')


def call(run, *argv):
  """The command in this process; returns its exit status."""
  saved = flagsaver.save_flag_values()
  try:
    return command.main(command.parse_flags(['command', *map(str, argv)]), run)
  except SystemExit as end:
    return end.code
  finally:
    flagsaver.restore_flag_values(saved)


def start(module, *argv):
  return subprocess.Popen(
    [sys.executable, '-m', f'experiments.{module}', *map(str, argv)],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.fixture
def folder(tmp_path):
  """Four noisy images of two raters."""
  rng = np.random.default_rng(0)
  for number in range(4):
    for name in ('images', 'rater_1', 'rater_2'):
      drawn = rng.integers(0, 256, (32, 40), dtype=np.uint8)
      if name != 'images':
        drawn[:] = 0
        drawn[4 : 10 + 4 * (name == 'rater_2') + number, 4:20] = 255
      (tmp_path / 'manual' / name).mkdir(parents=True, exist_ok=True)
      Image.fromarray(drawn).save(tmp_path / 'manual' / name / f'p{number // 2}_{number}.png')
  return tmp_path / 'manual'


def options(folder, *more):
  return (
    '--dataset=folder',
    f'--manual_dir={folder}',
    r'--option=case_pattern=^(p\d)_',
    *more,
  )


def test_prepare_builds_the_set_and_tells_of_it(tmp_path, folder, capsys):
  argv = options(folder, f'--data_dir={tmp_path / "data"}')
  assert call(prepare.run, *argv) == 0
  printed = capsys.readouterr()
  (directory,) = (tmp_path / 'data' / 'folder').glob('*/1.0.0')
  source = Source(directory)
  for text in (
    'folder: 4 records of 2 cases',
    'rater 1, rater 2 (persons)',
    'number of raters: 2: 4',
    'personalization makes sense',
    f'hash: {source.info.hash}',
    str(directory),
  ):
    assert text in printed.out
  assert 'records: 4 of 4' in printed.err
  assert Image.open(directory / prepare.SHEET).format == 'PNG'
  times = {file: file.stat().st_mtime_ns for file in directory.iterdir()}
  assert call(prepare.run, *argv) == 0
  assert times == {file: file.stat().st_mtime_ns for file in directory.iterdir()}
  assert capsys.readouterr().out == printed.out


def test_prepare_shows_counts_beside_the_published_ones(tmp_path, capsys):
  dummy_data.write_download(tmp_path / 'download')
  where = (f'--manual_dir={tmp_path / "download"}', f'--data_dir={tmp_path / "data"}')
  assert call(prepare.run, '--dataset=lidc_idri', *where) == 0
  printed = capsys.readouterr()
  assert any(line.split() == ['scans', '1', '1018'] for line in printed.out.splitlines())
  assert 'part of the collection' in printed.out
  assert 'files: 7 of 7' in printed.err


def test_prepare_with_several_jobs_gives_the_same_set(tmp_path, capsys):
  dummy_data.write_download(tmp_path / 'download')
  printed = []
  for jobs in (1, 2):
    where = (f'--manual_dir={tmp_path / "download"}', f'--data_dir={tmp_path / f"data{jobs}"}')
    assert call(prepare.run, '--dataset=lidc_idri', f'--jobs={jobs}', *where) == 0
    printed.append(capsys.readouterr().out.replace(f'data{jobs}', 'data'))
  assert printed[0] == printed[1]
  assert call(prepare.run, '--dataset=lidc_idri', '--jobs=0', *where[:1]) == 2
  assert '0 jobs' in capsys.readouterr().err


def test_pictures_show_one_record_a_case_first_and_are_the_same_again(tiny_set):
  source = Source(tiny_set)
  chosen = prepare.choose(source, 6)
  assert chosen == prepare.choose(Source(tiny_set), 6)
  assert len({source.info.cases[index] for index in chosen}) == 6
  every = prepare.choose(source, 100)
  assert sorted(every) == list(range(len(source)))


@pytest.fixture
def tiny_set(tmp_path):
  from tfds_builders import prepare as build

  return build('phantom', tmp_path / 'phantom', size=16, num_images=12, images_per_case=2)


@pytest.mark.parametrize(
  'argv,sentence',
  [
    ((), 'error: Give --dataset=NAME; there are folder'),
    (('--dataset=lidc',), "error: Unknown data set 'lidc'"),
    (('--dataset=folder',), 'error: This data set needs manual_dir'),
    (('--dataset=folder', '--manual_dir=/no/such'), 'error: manual_dir /no/such does not exist'),
    ((*PHANTOM, '--option=sise=3'), "error: Data set phantom has no option 'sise'"),
    ((*PHANTOM, '--option=size'), 'error: --option=size is not of the form key=value'),
    ((*PHANTOM, '--option=size=3'), 'error: The option size is given twice'),
    ((*PHANTOM, '--option=missing=half'), 'error: Data set phantom cannot use the options'),
    ((*PHANTOM, '--option=seed=-1'), 'error: phantom: seed is -1'),
    ((*PHANTOM, 'more'), 'error: more is no flag'),
    ((*PHANTOM, '--sise=3'), 'error: Unknown command line flag'),
  ],
)
def test_bad_input_is_one_sentence_and_status_2(tmp_path, argv, sentence, capsys):
  assert call(prepare.run, f'--data_dir={tmp_path / "data"}', *argv) == 2
  printed = capsys.readouterr()
  assert sentence in printed.err
  assert len(printed.err.strip().splitlines()) == 1
  assert printed.out == ''
  assert not list((tmp_path).rglob('*.array_record*'))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
  (tmp_path / 'data').write_text('a file')
  assert call(prepare.run, f'--data_dir={tmp_path / "data"}', *PHANTOM) == 2
  assert capsys.readouterr().err.startswith('error: ')


def test_values_of_options_are_json_or_text():
  with flagsaver.flagsaver(
    option=['a=3', 'b=-1.5', 'c=[0, 1]', 'd=True', 'e=None', 'f=^(p[0-9]+)_=', 'g="7"'],
    manual_dir='here',
  ):
    assert data_flags.options() == {
      'manual_dir': 'here',
      'a': 3,
      'b': -1.5,
      'c': [0, 1],
      'd': True,
      'e': None,
      'f': '^(p[0-9]+)_=',
      'g': '7',
    }
  with flagsaver.flagsaver(option=['manual_dir=there'], manual_dir='here'):
    with pytest.raises(DataError, match='twice'):
      data_flags.options()


def test_killed_preparation_is_cleaned_up_by_the_next(tmp_path, capsys):
  argv = ('--dataset=phantom', '--option=size=32', f'--data_dir={tmp_path / "data"}')
  process = start('prepare', *argv, '--option=num_images=20000')
  deadline = time.monotonic() + 120
  while not list(tmp_path.rglob('incomplete.*')) and time.monotonic() < deadline:
    time.sleep(0.05)
  process.kill()
  process.communicate()
  assert process.returncode == -9
  assert list(tmp_path.rglob('incomplete.*'))
  assert not list(tmp_path.rglob('records.json'))
  assert call(prepare.run, *argv, '--option=num_images=5') == 0  # other options of the same set
  assert '5 records of 5 cases' in capsys.readouterr().out
  assert not list(tmp_path.rglob('incomplete.*'))


def test_progress_speaks_where_nobody_looks_only_when_asked(capsys, monkeypatch):
  monkeypatch.setattr(progress, 'SECONDS', -1.0)
  assert list(progress.follow(range(3), 'files', 3)) == [0, 1, 2]
  assert capsys.readouterr() == ('', '')
  with progress.lines():
    list(progress.follow(range(2), 'files', 2))
    list(progress.follow([], 'others'))
  lines = capsys.readouterr().err.splitlines()
  assert lines == ['files: 1 of 2', 'files: 2 of 2', 'files: 2 of 2', 'others: 0']


def test_doctor_finds_nothing_wrong_in_a_good_folder(folder, capsys):
  assert call(doctor.run, *options(folder)) == 0
  printed = capsys.readouterr().out
  assert 'read 4 records of 2 cases' in printed
  assert 'layout=folders' in printed
  assert 'nothing wrong was found' in printed
  assert 'FINDING' not in printed


def test_doctor_goes_on_after_what_is_broken(folder, capsys):
  (folder / 'rater_1' / 'p0_1.png').write_bytes(b'no picture')
  Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / 'rater_2' / 'p1_2.png')
  assert call(doctor.run, *options(folder)) == 2
  printed = capsys.readouterr().out
  assert 'read 2 records' in printed
  (line,) = (line for line in printed.splitlines() if line.startswith('BROKEN'))
  assert line.split()[1] == '2'
  for name in ('p0_1.png', 'p1_2.png'):
    assert name in printed
  assert 'preparation would stop' in printed


def test_doctor_finds_what_is_most_likely_wrong(folder, capsys):
  image = np.asarray(Image.open(folder / 'images' / 'p0_0.png'))
  Image.fromarray(image).save(folder / 'images' / 'p1_2.png')
  mask = np.asarray(Image.open(folder / 'rater_1' / 'p0_1.png'))
  Image.fromarray(255 - mask).save(folder / 'rater_1' / 'p0_1.png')
  (folder / 'rater_2' / 'p0_0.png').unlink()
  assert call(doctor.run, *options(folder)) == 1
  printed = capsys.readouterr().out
  assert 'p0_0 = p1_2' in printed
  assert 'rater 2: 3 of 4' in printed
  assert 'look at the findings' in printed


def lines_of(printed, check):
  """The number and the texts of a finding."""
  lines = printed.splitlines()
  (start,) = (number for number, line in enumerate(lines) if line.endswith(check))
  texts = itertools.takewhile(lambda line: line.startswith(' '), lines[start + 1 :])
  return lines[start].split()[:2], list(map(str.strip, texts))


def test_doctor_lists_every_fault_of_the_layout(folder, capsys):
  for name in ('p0_0.tif', 'p1_2.tif'):
    Image.fromarray(np.zeros((32, 40), np.uint8)).save(folder / 'images' / name)
  Image.fromarray(np.zeros((32, 40), np.uint8)).save(folder / 'images' / 'other.png')
  assert call(doctor.run, *options(folder)) == 2
  printed = capsys.readouterr().out
  assert 'read 4 records' in printed
  (level, count), texts = lines_of(printed, 'places where the layout does not fit')
  assert (level, count) == ('BROKEN', '3')
  for text, names in zip(texts, (('p0_0.png', 'p0_0.tif'), ('p1_2.png',), ('other',)), strict=True):
    assert all(name in text for name in names)
  assert call(prepare.run, *options(folder)) == 2  # which names the first one
  assert 'p0_0.tif have one name' in capsys.readouterr().err


def test_doctor_lists_the_patients_that_lack_files(tmp_path, capsys):
  root = npc.write_nifti(tmp_path / 'download')
  for patient, name in ((0, 't1c'), (1, 't2')):
    (root / 'training' / f'Sample_{patient}' / f'{name}.nii.gz').unlink()
  argv = ('--dataset=npc', f'--manual_dir={root}')
  assert call(doctor.run, *argv) == 2
  printed = capsys.readouterr().err
  for text in ('Sample_0 lacks t1c', 'Sample_1 lacks t2', 'was looked for'):
    assert text in printed


def test_doctor_without_a_usable_layout_ends_with_2(tmp_path, capsys):
  (tmp_path / 'other').mkdir()
  assert call(doctor.run, '--dataset=folder', f'--manual_dir={tmp_path}') == 2
  assert 'found: other' in capsys.readouterr().err
  assert call(doctor.run, *PHANTOM) == 2
  assert 'nothing to check' in capsys.readouterr().err


def test_doctor_lists_all_on_request(folder, capsys):
  argv = ('--dataset=folder', f'--manual_dir={folder}')
  assert call(doctor.run, *argv) == 0
  assert 'its own case' in capsys.readouterr().out
  assert call(doctor.run, *argv, '--all') == 0
  assert 'more (--all' not in capsys.readouterr().out


def test_doctor_reads_a_download_of_the_archive(tmp_path, capsys):
  series = dummy_data.write_download(tmp_path / 'download')
  argv = ('--dataset=lidc_idri', f'--manual_dir={tmp_path / "download"}')
  assert call(doctor.run, *argv) == 0
  printed = capsys.readouterr().out
  assert '1017 of 1018 scans of the collection are not here' in printed
  assert 'rater 4: 0 of 4' in printed
  middle = sorted(series.glob('*.dcm'))[2]
  content = middle.read_bytes()
  middle.unlink()
  assert call(doctor.run, *argv) == 0
  assert 'LIDC-IDRI-0007: slices are missing at 1 places' in capsys.readouterr().out
  middle.write_bytes(content[: len(content) // 2])
  assert call(doctor.run, *argv) == 2
  assert middle.name in capsys.readouterr().out
  assert call(doctor.run, *argv, '--option=strict=false') == 1
  assert middle.name in capsys.readouterr().out


def test_a_run_on_other_records_is_refused_with_both_hashes(tmp_path, data_dir, capsys):
  import tiny

  argv = tiny.arguments(tmp_path / 'run', data_dir)
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'fingerprint.json').write_text(json.dumps({'hash': 'f' * 64}))
  assert tiny.call([*argv, '--dry_run']) == 2
  printed = capsys.readouterr().err
  (directory,) = (data_dir / 'phantom').glob('*/1.0.0')
  assert 'f' * 64 in printed
  assert Source(directory).info.hash in printed
