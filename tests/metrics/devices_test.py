"""Counts of a batch spread over eight devices: the same scores, and no communication."""

import os
import subprocess
import sys

SCRIPT = """
import cases, jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from multirater_jax.metrics import count, unit_scores
assert jax.device_count() == 8
probs, masks, drew = cases.random_units(0, cases.Shape(units=32, samples=6, raters=3, classes=3))
arrays, _ = cases.rows(probs, masks, drew)
mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
spread = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec('data')))
one, eight = jax.jit(count)(*arrays), jax.jit(count)(*spread)
assert len(eight.pairs.cross.sharding.device_set) == 8
a, b = unit_scores(jax.device_get(one)), unit_scores(jax.device_get(eight))
for name in a:
  np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-6, err_msg=name)
text = jax.jit(count).lower(*spread).compile().as_text()
for word in ('all-gather', 'all-reduce', 'all-to-all', 'collective-permute'):
  assert word not in text, word
"""


def test_eight_devices_give_the_numbers_of_one():
  here = os.path.dirname(__file__)
  root = os.path.dirname(os.path.dirname(here))
  environment = os.environ | {
    'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': os.pathsep.join([root, here]),
  }
  result = subprocess.run(
    [sys.executable, '-c', SCRIPT], env=environment, capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr[-3000:]
