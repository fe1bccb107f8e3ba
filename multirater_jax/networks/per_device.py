"""Functions that each device runs on its own rows of the batch."""

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec


def per_device(function: Callable) -> Callable:
  """``function`` of arrays with the batch first, run by every device on its own rows.

  For what the partitioner would gather the whole batch for, though rows do not depend on each
  other: FFTs (jax 0.10) and the loops of rejection sampling.
  """

  def run(*arrays):
    mesh = jax.sharding.get_abstract_mesh()
    if 'data' not in mesh.axis_names or mesh.size == 1 or arrays[0].shape[0] % mesh.size:
      return function(*arrays)
    rows = PartitionSpec('data')
    return jax.shard_map(function, in_specs=rows, out_specs=rows, check_vma=False)(*arrays)

  return run
