"""No file that somebody else made is ever run: what the sources may not call."""

import ast
import pathlib

import numpy as np
import pytest

import multirater_jax
import tfds_builders
from multirater_jax.data.errors import DataError
from tfds_builders import prepare

PACKAGES = [pathlib.Path(package.__file__).parent for package in (multirater_jax, tfds_builders)]
FILES = [file for package in PACKAGES for file in sorted(package.rglob('*.py'))]
MODULES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal', 'torch'}
CALLS = {'eval', 'exec', 'compile', '__import__'}
METHODS = {'extractall', 'extract', 'read_pickle', 'unsafe_load'}


def offences(source):
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [node.module or '']
    else:
      names = []
    yield from (name for name in names if name.split('.')[0] in MODULES)
    if isinstance(node, ast.Call):
      yield from _call(node)


def _call(node):
  function = node.func
  if isinstance(function, ast.Name) and function.id in CALLS:
    yield function.id
  if not isinstance(function, ast.Attribute):
    return
  owner = function.value.id if isinstance(function.value, ast.Name) else ''
  if function.attr in METHODS or (owner == 'yaml' and function.attr == 'load'):
    yield function.attr
  if owner in ('np', 'numpy') and function.attr == 'load':
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    allowed = keywords.get('allow_pickle')
    if not (isinstance(allowed, ast.Constant) and allowed.value is False):
      yield 'np.load without allow_pickle=False'


@pytest.mark.parametrize('file', FILES, ids=lambda file: '/'.join(file.parts[-3:]))
def test_sources_run_no_data(file):
  assert list(offences(file.read_text())) == []


@pytest.mark.parametrize(
  'source',
  [
    'import pickle',
    'from torch import load',
    'import joblib.memory',
    'eval(x)',
    'np.load(x)',
    'np.load(x, allow_pickle=True)',
    'yaml.load(x)',
    'archive.extractall(x)',
  ],
)
def test_the_check_can_fail(source):
  assert list(offences(source))


def test_arrays_of_objects_in_a_folder_are_never_opened(tmp_path):
  folder = tmp_path / 'manual'
  for name in ('images', 'rater_1'):
    (folder / name).mkdir(parents=True)
    np.save(folder / name / 'a.npy', np.array([{}], dtype=object))
  with pytest.raises(DataError, match='holds no image'):
    prepare('folder', tmp_path / 'data', manual_dir=folder)
