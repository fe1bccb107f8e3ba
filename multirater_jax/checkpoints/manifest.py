"""The manifest of a checkpoint: what every part of it must look like, bit for bit."""

import json
import math
from typing import Any

import numpy as np
from absl import logging

from multirater_jax.checkpoints import digests

FORMAT = 1


def make(
  step: int,
  leaves: dict[str, Any],
  arrays: dict[str, np.ndarray],
  *,
  meta: dict[str, Any],
  metric: float | int | None,
) -> dict[str, Any]:
  """A JSON object with the record of every leaf, the digest of ``meta``, the metric and its own.

  ``arrays`` are the leaves in host memory. A metric that is not finite is left out.
  """
  manifest = {
    'format': FORMAT,
    'step': step,
    'metric': _finite(step, metric),
    'meta': _hash_meta(step, meta),
    'leaves': {name: digests.record(leaf, arrays[name]) for name, leaf in leaves.items()},
  }
  return manifest | {'digest': digests.hash_json(manifest)}


def is_whole(manifest: Any) -> bool:
  """Whether a manifest that was read has the digest it had when it was made."""
  if not isinstance(manifest, dict):
    return False
  rest = {key: value for key, value in manifest.items() if key != 'digest'}
  return manifest.get('digest') == digests.hash_json(rest)


def _finite(step: int, metric: float | int | None) -> float | None:
  if metric is None:
    return None
  if math.isfinite(metric):
    return float(metric)
  logging.warning('the metric of checkpoint %d is %s; it cannot become the best', step, metric)
  return None


def _hash_meta(step: int, meta: dict[str, Any]) -> str:
  try:
    if json.loads(json.dumps(meta)) != meta:
      raise TypeError('it holds tuples, NaN or keys that are not strings')
  except (TypeError, ValueError) as error:
    raise digests.CheckpointError(
      f'the meta data of checkpoint {step} must be plain JSON: {error}'
    ) from error
  return digests.hash_json(meta)
