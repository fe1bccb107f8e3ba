"""Names, shapes and SHA-256 digests of the leaves of a pytree."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

Record = dict[str, Any]  # 'shape', 'dtype'; of saved leaves also 'sha256', of PRNG keys 'impl'


class CheckpointError(RuntimeError):
  """A checkpoint cannot be written, is missing, is damaged or belongs to another model."""


def leaf_names(tree: Any) -> list[str]:
  """Names of the leaves, as in ``params/conv/kernel``, in the order of ``jax.tree.leaves``.

  Raises:
    CheckpointError: two leaves have one name.
  """
  names = [
    '/'.join(jax.tree_util.keystr((key,), simple=True) for key in path)
    for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  ]
  if double := [name for name, count in Counter(names).items() if count > 1]:
    raise CheckpointError(f'two arrays of the state are named {double[0]!r}; rename one')
  return names


def name_leaves(tree: Any) -> dict[str, Any]:
  """Leaves by name, sorted by name."""
  return dict(sorted(zip(leaf_names(tree), jax.tree.leaves(tree), strict=True), key=itemgetter(0)))


def is_key(leaf: Any) -> bool:
  """Whether a leaf is a typed PRNG key array (or the shape of one)."""
  return hasattr(leaf, 'dtype') and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def describe(leaf: Any) -> Record:
  """Shape and dtype of an array, a PRNG key array, a ``ShapeDtypeStruct`` or a Python number."""
  if not hasattr(leaf, 'dtype'):
    leaf = np.asarray(leaf)
  return {'shape': list(leaf.shape), 'dtype': str(leaf.dtype)}


def to_host(leaf: Any) -> np.ndarray:
  """The whole array in host memory; of a PRNG key its data, of an array of several hosts all rows.

  The result may share memory with the leaf.
  """
  if is_key(leaf):
    leaf = jax.random.key_data(leaf)
  if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
    leaf = multihost_utils.process_allgather(leaf, tiled=True)
  array = np.asarray(leaf)
  if array.dtype.kind in 'OUSMm':
    raise CheckpointError(
      f'a leaf of the state is a {type(leaf).__name__}, not an array of numbers'
    )
  return array


def hash_array(array: np.ndarray) -> str:
  """SHA-256 of the array's bytes in C order."""
  flat = np.ascontiguousarray(array).reshape(-1)
  return hashlib.sha256(flat.view(np.uint8)).hexdigest()


def hash_json(value: Any) -> str:
  """SHA-256 of a JSON value, independent of the order of keys."""
  text = json.dumps(value, sort_keys=True, separators=(',', ':'))
  return hashlib.sha256(text.encode()).hexdigest()


def record(leaf: Any, array: np.ndarray) -> Record:
  """Shape, dtype and SHA-256 of a leaf that lies in host memory; of a PRNG key its algorithm."""
  impl = {'impl': str(jax.random.key_impl(leaf))} if is_key(leaf) else {}
  return describe(leaf) | impl | {'sha256': hash_array(array)}


def fits(array: np.ndarray, saved: Record) -> bool:
  """Whether an array that was read is the one that was saved; of a PRNG key it is the data."""
  if 'impl' in saved:
    same_type = array.dtype == np.uint32 and list(array.shape[:-1]) == saved['shape']
  else:
    same_type = describe(array) == {key: saved[key] for key in ('shape', 'dtype')}
  return same_type and hash_array(array) == saved['sha256']


def digest(tree: Any) -> str:
  """SHA-256 over the names, shapes, dtypes and bytes of all leaves; equal iff the trees are.

  NumPy and JAX arrays of one content have one digest, wherever they are placed.
  """
  return hash_json({name: record(x, to_host(x)) for name, x in name_leaves(tree).items()})


def tree_differences(saved: Mapping[str, Record], wanted: Mapping[str, Record]) -> list[str]:
  """One phrase for each leaf of another shape or dtype, then each missing, then each surplus one.

  Short names come first: those of parameters before those of the optimizer's copies of them.
  """
  both, missing, surplus = (
    sorted(names, key=lambda name: (name.count('/'), name))
    for names in (saved.keys() & wanted, wanted.keys() - saved, saved.keys() - wanted)
  )
  return [
    *(
      f'{name} has {what} {saved[name][what]}, the program wants {wanted[name][what]}'
      for name in both
      for what in ('shape', 'dtype')
      if saved[name][what] != wanted[name][what]
    ),
    *(f'{name} is not in the checkpoint' for name in missing),
    *(f'{name} is only in the checkpoint' for name in surplus),
  ]


def nest(leaves: Iterable[tuple[str, Any]]) -> dict[str, Any]:
  """``{'a/b': x} -> {'a': {'b': x}}``: the form in which the leaves lie on disk."""
  tree: dict[str, Any] = {}
  for name, leaf in leaves:
    *parents, last = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree
