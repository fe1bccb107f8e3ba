"""Processes, the device mesh, and where arrays lie on it.

Data parallelism only: one mesh axis ``data`` over all devices of all processes, batches split by
row along it, everything else on every device. One device and one process are the smallest case of
the same code.
"""

import hashlib
import math
import os
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = 'data'
MODES = ('auto', 'on', 'off')
_PATIENCE = 3600  # seconds that the others wait at the end while process 0 writes the report
# The size of a job, as the launchers that JAX understands tell it to their processes.
_JOB_SIZES = ('OMPI_COMM_WORLD_SIZE', 'SLURM_NTASKS')
_HOST_LISTS = ('TPU_WORKER_HOSTNAMES', 'TPU_PROCESS_ADDRESSES')
_COORDINATORS = ('JAX_COORDINATOR_ADDRESS', 'MEGASCALE_COORDINATOR_ADDRESS')


def start(
  distributed: str = 'auto',
  *,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Joins this process with the others of the job; must come before any other call of JAX.

  ``auto`` joins when a coordinator (``host:port``) is given here or a launcher (Slurm, Open MPI,
  a TPU pod) announces more than one process, ``on`` always, ``off`` never. What is not given is
  taken from the launcher. A second call does nothing.

  Raises:
    ValueError: an unknown mode, or the processes cannot be joined.
  """
  if distributed not in MODES:
    raise ValueError(f'distributed={distributed!r} must be one of {", ".join(MODES)}')
  wanted = distributed == 'on' or (distributed == 'auto' and (coordinator or _is_announced()))
  if not wanted or jax.distributed.is_initialized():
    return
  try:
    jax.distributed.initialize(
      coordinator, num_processes, process_id, shutdown_timeout_seconds=_PATIENCE
    )
  except (RuntimeError, ValueError) as error:
    reason = str(error).strip().split('\n')[0]
    raise ValueError(
      f'distributed={distributed!r}: the processes could not be joined ({reason}); give '
      "coordinator, num_processes and process_id, or set distributed='off'"
    ) from error


def data_mesh() -> Mesh:
  """All devices on one axis; the devices of a process are neighbors, so its rows are, too."""
  devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
  return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows split over the devices."""
  return NamedSharding(mesh, PartitionSpec(AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
  """Everything on every device."""
  return NamedSharding(mesh, PartitionSpec())


def place_batch(mesh: Mesh, local_batch: Any) -> Any:
  """The rows of every process as one batch over all devices, in the order of the processes.

  Each process gives its own rows, equally many; the global row count is their sum.
  """
  sharding = batch_sharding(mesh)
  return jax.tree.map(
    lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)), local_batch
  )


def place_replicated(mesh: Mesh, tree: Any) -> Any:
  """A copy of every array on every device; each process must give the same values.

  The copies share no memory with ``tree``, so that a training step may consume them; that is why
  they go by way of the host: ``jax.device_put`` lends the buffer it is given.
  """
  return jax.tree.map(lambda leaf: _replicate(leaf, replicated(mesh)), tree)


def _replicate(leaf: Any, sharding: NamedSharding) -> jax.Array:
  if hasattr(leaf, 'dtype') and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    data = _replicate(jax.random.key_data(leaf), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
  array = np.array(leaf, jax.dtypes.canonicalize_dtype(jax.numpy.result_type(leaf)))
  return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])


def local_rows(array: jax.Array | np.ndarray) -> np.ndarray:
  """All rows of a batch, from all processes, in the memory of this one.

  With several processes all of them must call it.
  """
  if isinstance(array, jax.Array) and not array.is_fully_addressable:
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
  return np.asarray(array)


def check_batch(batch_size: int) -> int:
  """The number of rows that each process reads for a global batch.

  Raises:
    ValueError: the batch cannot be divided over the devices; names the nearest sizes that can.
  """
  devices, processes = jax.device_count(), jax.process_count()
  step = math.lcm(devices, processes)
  if batch_size < 1 or batch_size % step:
    below = batch_size // step * step
    nearest = [str(size) for size in (below, below + step) if size > 0]
    raise ValueError(
      f'batch size {batch_size} cannot be divided over {devices} devices of {processes} '
      f'process(es); use {" or ".join(nearest)}'
    )
  return batch_size // processes


def largest(value: int) -> int:
  """The largest of the processes' values, the same on all; for flags that all must act upon."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.process_allgather(np.asarray(value, np.int32)).max())


def assert_same(value: str, what: str = 'config') -> None:
  """Checks that a text, such as the hash of the config, is the same in all processes.

  Raises:
    ValueError: in every process, with the numbers of those that differ from process 0.
  """
  if jax.process_count() == 1:
    return
  own = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8)
  all_hashes = np.asarray(multihost_utils.process_allgather(own))
  differing = np.flatnonzero((all_hashes != all_hashes[0]).any(axis=1)).tolist()
  if differing:
    raise ValueError(
      f'the {what} of process(es) {", ".join(map(str, differing))} differs from that of process 0; '
      'start all processes with the same settings and data'
    )


def _is_announced() -> bool:
  """Whether the environment speaks of more than one process."""
  sizes = [os.environ.get(name, '') for name in _JOB_SIZES]
  hosts = [os.environ.get(name, '') for name in _HOST_LISTS]
  return (
    any(size.isdigit() and int(size) > 1 for size in sizes)
    or any(',' in names for names in hosts)
    or any(os.environ.get(name) for name in _COORDINATORS)
  )
