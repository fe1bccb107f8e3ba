"""Fitting saved arrays to the state a program expects: same names, shapes, dtypes; its devices."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from multirater_jax.checkpoints import digests

SHOWN = 4  # differences named in one message


def match(directory: Path, step: int, saved: dict[str, digests.Record], template: Any) -> None:
  """Raises one sentence with the first differences if a checkpoint is of another model."""
  wanted = {name: digests.describe(leaf) for name, leaf in digests.name_leaves(template).items()}
  if lines := digests.tree_differences(saved, wanted):
    more = f' (and {len(lines) - SHOWN} more)' if len(lines) > SHOWN else ''
    raise digests.CheckpointError(
      f'checkpoint {step} in {directory} does not fit this program: '
      f'{"; ".join(lines[:SHOWN])}{more}'
    )


def place(template: Any, arrays: dict[str, np.ndarray], saved: dict[str, digests.Record]) -> Any:
  """The arrays in the structure, as the types and on the devices of the template."""
  leaves, structure = jax.tree.flatten(template)
  names = digests.leaf_names(template)
  return structure.unflatten(
    _place_leaf(leaf, arrays[name], saved[name].get('impl'))
    for leaf, name in zip(leaves, names, strict=True)
  )


def _place_leaf(leaf: Any, array: np.ndarray, impl: str | None) -> Any:
  if isinstance(leaf, (bool, int, float, complex)):
    return type(leaf)(array.item())
  if isinstance(leaf, (np.ndarray, np.generic)):
    return array
  placed = _on_devices(array, _sharding(leaf))
  return jax.random.wrap_key_data(placed, impl=impl) if impl else placed


def _sharding(leaf: Any) -> Sharding | None:
  """Where a leaf lies by the caller's will; None if it lies where JAX puts things by itself."""
  if isinstance(leaf, jax.Array) and not leaf.committed:
    return None
  return getattr(leaf, 'sharding', None)


def _on_devices(array: np.ndarray, sharding: Sharding | None) -> jax.Array:
  if sharding is None:
    return jnp.asarray(array)
  return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])
