import zipfile

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import convert_pickle, unpack


@pytest.fixture(autouse=True)
def parsed():
  flags.FLAGS.mark_as_parsed()


def test_an_archive_becomes_a_folder(tmp_path, capsys):
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
    file.writestr('b/c.txt', 'x')
  with flagsaver.flagsaver(archive=str(tmp_path / 'a.zip'), unpack_to=str(tmp_path / 'new')):
    assert unpack.main([]) == 0
    assert unpack.main([]) == 2
  assert (tmp_path / 'new' / 'b' / 'c.txt').read_text() == 'x'
  out, err = capsys.readouterr()
  assert out.startswith('1 files in')
  assert err.startswith('error: ')
  assert 'exists' in err


@pytest.mark.parametrize('command', [unpack, convert_pickle])
def test_missing_flags_are_named(command, capsys):
  assert command.main([]) == 2
  assert 'error: give --' in capsys.readouterr().err
