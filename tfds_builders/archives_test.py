"""Hostile archives: refused, and nothing is left of them."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from multirater_jax.data.errors import DataError
from tfds_builders.archives import unpack


def refuse(tmp_path, archive, message):
  before = sorted(path.name for path in tmp_path.iterdir())
  with pytest.raises(DataError, match=message):
    unpack(archive, tmp_path / 'out')
  assert sorted(path.name for path in tmp_path.iterdir()) == before


def write_zip(path, members):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    for name, content in members.items():
      file.writestr(name, content)
  return path


def write_tar(path, *members, mode='w:gz'):
  with tarfile.open(path, mode) as file:
    for name, content, fields in members:
      info = tarfile.TarInfo(name)
      info.size = len(content)
      for key, value in fields.items():
        setattr(info, key, value)
      file.addfile(info, io.BytesIO(content))
  return path


@pytest.mark.parametrize('kind', ['zip', 'tar', 'tar.gz'])
def test_ordinary_archives(tmp_path, kind):
  contents = {'a/b.png': os.urandom(3_000_000), 'a/c/d.csv': b'x', './e': b'', 'odd': b'y' * 512}
  path = tmp_path / f'a.{kind}'
  if kind == 'zip':
    write_zip(path, {'a/': b'', **contents})
  else:
    members = [(name, content, {}) for name, content in contents.items()]
    folder = ('a', b'', {'type': tarfile.DIRTYPE})
    write_tar(path, folder, *members, mode='w:gz' if 'gz' in kind else 'w')
  assert unpack(path, tmp_path / 'new' / 'out') == 4
  for name, content in contents.items():
    assert (tmp_path / 'new' / 'out' / name).read_bytes() == content
  assert [file.name for file in (tmp_path / 'new').iterdir()] == ['out']


NAMES = pytest.mark.parametrize(
  'name', ['../x', 'a/../../x', '/tmp/x', '..\\x', 'C:\\x', 'a/..', '\\x']
)


@NAMES
def test_names_that_lead_out_of_a_zip(tmp_path, name):
  refuse(tmp_path, write_zip(tmp_path / 'a.zip', {'fine': b'', name: b'x'}), 'leads out')


@NAMES
def test_names_that_lead_out_of_a_tar(tmp_path, name):
  path = write_tar(tmp_path / 'a.tar.gz', ('fine', b'', {}), (name, b'x', {}))
  refuse(tmp_path, path, 'leads out')


@pytest.mark.parametrize(
  'kind',
  [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_of_a_tar(tmp_path, kind):
  path = write_tar(tmp_path / 'a.tar', ('x', b'', {'type': kind, 'linkname': '/etc'}), mode='w')
  refuse(tmp_path, path, "'x' in .* is a link or device")


@pytest.mark.parametrize('mode', [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_of_a_zip(tmp_path, mode):
  info = zipfile.ZipInfo('x')
  info.external_attr = (mode | 0o777) << 16
  refuse(tmp_path, write_zip(tmp_path / 'a.zip', {info: b'/etc'}), 'link or device')


def test_bombs(tmp_path):
  refuse(tmp_path, write_zip(tmp_path / 'a.zip', {'x': bytes(2**25)}), 'over 200 times')
  refuse(tmp_path, write_tar(tmp_path / 'a.tar.gz', ('x', bytes(2**25), {})), 'over 200 times')


def test_a_forged_header_of_a_tar(tmp_path):
  path = write_tar(
    tmp_path / 'a.tar.gz', ('x', bytes(2**23), {'type': tarfile.XHDTYPE}), ('y', b'', {})
  )
  refuse(tmp_path, path, r'a header of \d+ bytes')


@pytest.mark.parametrize('kind', ['zip', 'tar', 'tar.gz'])
def test_damaged_archives(tmp_path, kind):
  path = tmp_path / f'a.{kind}'
  content = os.urandom(50_000)
  if kind == 'zip':
    write_zip(path, {'x': content})
  else:
    write_tar(path, ('x', content, {}), mode='w:gz' if 'gz' in kind else 'w')
  whole = path.read_bytes()
  for data in (whole[: len(whole) // 2], b'garbage' * 99, b''):
    path.write_bytes(data)
    refuse(tmp_path, path, r'a\..* is damaged')
  middle = len(whole) // 2
  path.write_bytes(whole[:middle] + b'garbage' + whole[middle + 7 :])
  if kind != 'tar':  # a plain tar has no checksum of contents
    refuse(tmp_path, path, 'is damaged')


def test_a_member_twice(tmp_path):
  path = write_tar(tmp_path / 'a.tar', ('x', b'1', {}), ('x', b'2', {}), mode='w')
  refuse(tmp_path, path, 'is damaged')


def test_places(tmp_path):
  path = write_zip(tmp_path / 'a.zip', {'x': b''})
  refuse(tmp_path, tmp_path / 'b.zip', 'There is no file')
  (tmp_path / 'out').mkdir()
  refuse(tmp_path, path, 'exists')
