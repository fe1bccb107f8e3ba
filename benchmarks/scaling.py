"""Data parallelism: collectives of the compiled step, equal numbers, weak scaling, a paper model.

  python -m benchmarks.scaling                   all methods on 1, 2, 4 and 8 CPU devices
  python -m benchmarks.scaling --methods=harmonized --quick

Fake CPU devices share the cores of one machine, so their time says nothing of real devices: what
counts is that the step holds one kind of collective, the sum of the gradients, that the numbers
agree, and the ``overhead``, time over that of one device with all the rows. The last table puts
FLOPs and bytes of the compiled step into link rates from data sheets; it is a model, not a run.
"""

import collections
import json
import os
import re
import subprocess
import sys

from benchmarks import measure
from multirater_jax.methods import METHODS

ROWS = 8  # of the whole batch; a multiple of all numbers of devices
COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
# Peak bf16 FLOP/s of a device, and bytes/s that a ring all-reduce moves in and out of it.
MACHINES = {
  '8 x H100, NVLink': (8, 9.9e14, 4.5e11),
  'TPU v5e-256, 2-D torus': (256, 1.97e14, 1.0e11),
}
UTILIZATION = 0.3  # of the peak that such networks reach, assumed


def child(name: str, devices: int) -> dict:
  """Collectives, seconds and the loss after steps of the last stage, in a process of its own."""
  flags = f'--xla_force_host_platform_device_count={devices}'
  environment = {**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'}
  command = [sys.executable, '-m', 'benchmarks.scaling', '--child', name]
  done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
  return json.loads(done.stdout.splitlines()[-1])


def run_child(name: str) -> None:
  """What the child prints."""
  import jax
  import numpy as np

  from benchmarks.configured import example, training
  from multirater_jax import sharding

  mesh = sharding.data_mesh()
  with jax.set_mesh(mesh):
    batch = sharding.place_batch(mesh, example(ROWS, 32, 4))
    state, step = training(name, -1, batch)
    state = sharding.place_replicated(mesh, state)
    compiled = step.lower(state, jax.random.key(1), batch).compile()
    found = collections.Counter()
    for line in compiled.as_text().splitlines():
      if match := re.search(
        r'= \(?[a-z0-9]+\[.* (' + '|'.join(COLLECTIVES) + r')(-start)?\(', line
      ):
        found[match[1]] += 1
    times, losses = [], []
    for _ in range(3):
      state, logs = step(state, jax.random.key(1), batch)
      losses.append(float(logs['loss']))
    held = [state]

    def again():
      held[0], logs = step(held[0], jax.random.key(1), batch)
      return logs

    times = measure.times(again, repeats=5)
  print(
    json.dumps(
      {
        'collectives': dict(found),
        'seconds': times.median,
        'loss': float(np.mean(losses)),
      }
    )
  )


def devices_table(methods: list[str], numbers: tuple[int, ...]) -> measure.Rows:
  """Every method on so many fake devices."""
  rows = []
  for name in methods:
    first = None
    for number in numbers:
      found = child(name, number)
      first = first or found
      rows.append(
        {
          'method': name,
          'devices': number,
          'collectives': ' '.join(f'{n} {kind}' for kind, n in found['collectives'].items()) or '-',
          'ms': 1e3 * found['seconds'],
          'overhead': found['seconds'] / first['seconds'],
          'loss difference': abs(found['loss'] - first['loss']),
        }
      )
  return rows


def model_table(methods: list[str]) -> measure.Rows:
  """The step at the published scale on real machines, from FLOPs and bytes: compute against sum."""
  import jax

  from benchmarks.configured import example, training

  rows = []
  for name in methods:
    state, step = training(name, -1, example(1, 128, 4), scale='paper')
    shapes = jax.eval_shape(lambda: example(16, 128, 4))
    lowered = step.lower(state, jax.random.key(1), shapes)
    flops = lowered.cost_analysis()['flops'] / 16
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state.trained))
    for machine, (devices, peak, link) in MACHINES.items():
      compute = 16 * flops / (UTILIZATION * peak)
      reduce = 2 * (devices - 1) / devices * size / link
      rows.append(
        {
          'method': name,
          'machine': machine,
          'GFLOP an image': flops / 1e9,
          'gradient, MB': size / 1e6,
          'compute, ms (16 images a device)': 1e3 * compute,
          'sum, ms': 1e3 * reduce,
          'images/s, not overlapped': 16 * devices / (compute + reduce),
        }
      )
  return rows


def main() -> None:
  """Measures, or is the child that is measured."""
  parser = measure.parser(__doc__)
  parser.add_argument('--methods', default=','.join(METHODS), help='names of methods')
  parser.add_argument('--child', help='for this program itself')
  options = parser.parse_args()
  if options.child:
    run_child(options.child)
    return
  methods = options.methods.split(',')
  numbers = (1, 2) if options.quick else (1, 2, 4, 8)
  measure.run(
    [
      (f'A step on {ROWS} rows of 32 x 32', lambda: devices_table(methods, numbers)),
      ('On paper: the published scale', lambda: model_table(methods)),
    ],
    options.output,
  )


if __name__ == '__main__':
  main()
