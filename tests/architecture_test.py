"""Who may import whom, and the size and naming of what there is, read from the source."""

import ast
import functools
import itertools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY, PACKAGES = 'multirater_jax', ('multirater_jax', 'experiments', 'tfds_builders')

# Part of the library -> parts it may import, beside itself. A new file must find its place here.
EDGES = {
  '__init__': {'adaptation', 'method', 'methods', 'metrics', 'model', 'predict'},
  # Leaves: nothing of ours.
  'checkpoints': set(),
  'diffusion': set(),
  'interrupts': set(),
  'losses': set(),
  'method': set(),
  'metrics': set(),
  'networks': set(),
  'optimizer': set(),
  'progress': set(),
  'report': set(),  # reads files
  'sharding': set(),
  'text': set(),
  'train_log': set(),
  'workdir': set(),
  # The format of a prepared record is written by the builders and read here.
  'data': {'tfds_builders'},
  'metric_log': {'workdir'},
  'diffusion_family': {'diffusion', 'losses', 'method', 'networks'},
  'latent_family': {'losses', 'method', 'networks'},
  'style_prompts': {'text'},
  'methods': {  # never another method
    *('diffusion', 'diffusion_family', 'latent_family', 'losses', 'method', 'networks'),
    *('style_prompts', 'text'),
  },
  'train_step': {'data', 'method', 'optimizer'},
  # One run: a config turned into data, mesh and methods, then scored, written, predicted.
  'experiment': {'data', 'method', 'methods', 'sharding'},
  'scoring': {'data', 'experiment', 'method', 'metrics', 'progress', 'sharding'},
  'score_tables': {'metrics', 'workdir'},
  'case_rows': {'metrics', 'score_tables'},
  'surfaces': {'experiment', 'method', 'metrics', 'scoring', 'sharding'},
  'evaluate': {'experiment', 'metrics', 'score_tables', 'scoring', 'sharding', 'surfaces'},
  'panels': {'experiment', 'method', 'score_tables', 'scoring', 'sharding'},
  'results': {'experiment', 'score_tables', 'scoring'},
  'robustness': {'data', 'experiment', 'metrics', 'scoring', 'workdir'},
  'predict': {'method'},
  'trained': {'checkpoints', 'data', 'experiment', 'method'},
  'windows': {'data'},
  'scans': {'metrics', 'model', 'text'},
  'exported': set(),  # JAX alone
  'export': {'exported', 'method', 'model', 'trained'},
  'model': {'data', 'method', 'predict', 'text', 'trained', 'windows'},
  'adaptation': {'losses', 'method'},
  'new_rater': {'adaptation', 'data', 'experiment', 'method', 'metrics', 'trained'},
  'comparison': {'data', 'metrics'},
  'prompt_obedience': {'experiment', 'method', 'scoring', 'style_prompts', 'text'},
  'step_curve': {'experiment', 'metrics', 'scoring', 'workdir'},
  'validation': {'experiment', 'method', 'metrics', 'report', 'scoring', 'sharding'},
  'train': {
    *('checkpoints', 'data', 'experiment', 'interrupts', 'method', 'metric_log'),
    *('networks',),  # pretrained weights of a trunk
    *('optimizer', 'progress', 'sharding', 'train_log', 'train_step', 'validation'),
  },
  # The other two packages.
  'tfds_builders': {'data', 'progress'},
  'experiments.configs': set(),
  'experiments': {
    *(
      'case_rows',
      'checkpoints',
      'comparison',
      'data',
      'new_rater',
      'evaluate',
      'experiment',
      'export',
      'method',
      'methods',
      'metrics',
    ),
    *(
      'model',
      'panels',
      'progress',
      'prompt_obedience',
      'report',
      'results',
      'robustness',
      'scans',
      'score_tables',
    ),
    *('scoring', 'step_curve', 'style_prompts', 'text'),
    *('sharding', 'tfds_builders', 'train', 'train_log', 'train_step', 'trained', 'workdir'),
  },
}

SHARED = ('data.errors', 'data.phantom', 'progress')  # what builders take of the library

# Packages that only some parts of the library may import.
ONLY_IN = {
  'flax': {'adaptation', 'networks', 'optimizer', 'trained'},
  'grain': {'data'},
  'matplotlib': {'report'},
  'ml_collections': {'experiment'},
  'optax': {'adaptation', 'optimizer', 'train', 'train_step'},
  'orbax': {'checkpoints'},
  'PIL': {'report'},
  'sentence_transformers': {'text'},
  'tensorboardX': {'metric_log'},
  'tensorflow_datasets': {'data'},
}
NOWHERE = {'clu', 'cloudpickle', 'dill', 'joblib', 'keras', 'pickle', 'tensorflow', 'torch'}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
VAGUE = {'utils', 'util', 'common', 'base', 'misc', 'helpers', 'helper'}


@functools.cache
def sources() -> dict[str, Path]:
  """Module name -> file, without tests."""
  found = {}
  for path in itertools.chain(*(sorted((ROOT / package).rglob('*.py')) for package in PACKAGES)):
    if not path.stem.endswith('_test') and path.stem != 'conftest':
      parts = path.relative_to(ROOT).with_suffix('').parts
      found['.'.join(parts)] = path
  return found


@functools.cache
def tree_of(module: str) -> ast.Module:
  return ast.parse(sources()[module].read_text(encoding='utf-8'))


@functools.cache
def imports_of(module: str) -> frozenset[str]:
  """Full names of what a module imports, anywhere in it."""
  names = set()
  for node in ast.walk(tree_of(module)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{module}, line {node.lineno}: relative import'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return frozenset(names)


def part_of(name: str) -> str:
  """The key of EDGES that a module, or a name in it, belongs to."""
  package, *rest = name.split('.')
  if package == 'experiments' and rest[:1] == ['configs']:
    return 'experiments.configs'
  if package in ('experiments', 'tfds_builders'):
    return package
  return rest[0] if rest else '__init__'


def is_ours(name: str) -> bool:
  return name.startswith(tuple(f'{package}.' for package in PACKAGES)) or name in PACKAGES


def library() -> list[str]:
  return [module for module in sources() if module.startswith(f'{LIBRARY}.')]


def test_there_is_something_to_read():
  assert len(library()) > 50 and f'{LIBRARY}.method' in sources()
  assert f'{LIBRARY}.methods.harmonized' in sources()
  assert 'multirater_jax.losses' in imports_of('multirater_jax.methods.harmonized')


@pytest.mark.parametrize('module', sources())
def test_imports_go_along_the_edges(module):
  part = part_of(module)
  assert part in EDGES, f'{module}: no place in EDGES'
  for name in filter(is_ours, imports_of(module)):
    target = part_of(name)
    assert target == part or target in EDGES[part], f'{module} must not import {name}'


def test_parts_of_the_library_form_no_circle():
  def reachable(part, path):
    for target in sorted(EDGES[part] - {'tfds_builders'}):
      assert target not in path, f'circle: {" -> ".join([*path, target])}'
      reachable(target, [*path, target])

  for part in EDGES:
    reachable(part, [part])


def test_methods_never_import_each_other():
  for module in library():
    if part_of(module) == 'methods' and not module.endswith('__init__'):
      assert not {name for name in imports_of(module) if '.methods' in name}, module


def test_builders_and_library_share_errors_progress_the_record_and_the_phantom():
  """The only two packages that know each other; everything else of either is out of reach."""
  for module in sources():
    ours = set(filter(is_ours, imports_of(module)))
    if part_of(module) == 'data':
      shared = {'tfds_builders.record', 'tfds_builders.records'}
      assert {name for name in ours if name.startswith('tfds_builders')} <= shared, module
    if part_of(module) == 'tfds_builders':
      allowed = ('tfds_builders', *(f'multirater_jax.{name}' for name in SHARED))
      assert all(name.startswith(allowed) for name in ours), module


@pytest.mark.parametrize('module', library())
def test_foreign_packages_stay_where_they_belong(module):
  for name in imports_of(module):
    package = name.split('.')[0]
    assert package not in NOWHERE, f'{module} imports {name}'
    if package in ONLY_IN:
      assert part_of(module) in ONLY_IN[package], f'{module} imports {name}'


@pytest.mark.parametrize('module', sources())
def test_nothing_is_unpickled_by_numpy(module):
  for node in ast.walk(tree_of(module)):
    if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
      assert isinstance(node.value, ast.Constant) and node.value.value is False, module


def functions(module):
  return [node for node in ast.walk(tree_of(module)) if isinstance(node, FUNCTIONS)]


def lines_of(node):
  return range(node.lineno, node.end_lineno + 1)


@pytest.mark.parametrize('module', sources())
def test_files_and_functions_are_short(module):
  assert len(sources()[module].read_text(encoding='utf-8').splitlines()) < 400
  for function in functions(module):
    inner = [n for n in ast.walk(function) if isinstance(n, FUNCTIONS) and n is not function]
    # A factory is as long as what it returns; what counts is what is read in one go.
    own = set(lines_of(function)).difference(*map(lines_of, inner))
    assert len(own) < 80, f'{function.name} has {len(own)} lines'


def test_no_file_or_folder_has_a_vague_name():
  tests = sorted((ROOT / 'tests').rglob('*.py'))
  for path in itertools.chain(sources().values(), tests):
    parts = path.relative_to(ROOT).with_suffix('').parts
    stems = {part.removesuffix('_test') for part in parts}
    assert not stems & VAGUE, path


@pytest.mark.parametrize('module', library())
def test_everything_public_is_documented(module):
  assert ast.get_docstring(tree_of(module)), module
  for node in public(tree_of(module).body):
    inner = public(node.body) if isinstance(node, ast.ClassDef) else []
    for part in (node, *inner):
      assert ast.get_docstring(part), f'{module}.{node.name}: {part.name} has no docstring'


def public(body):
  kinds = (*FUNCTIONS, ast.ClassDef)
  return [node for node in body if isinstance(node, kinds) and not node.name.startswith('_')]
