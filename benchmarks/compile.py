"""Cold and warm start of every config: seconds until the first training step is done.

  python -m benchmarks.compile                       all methods, both stages
  python -m benchmarks.compile --methods=prob_unet --quick

Every start is a process of its own. The warm one finds the compiled programs of the cold one in the
persistent cache (``JAX_COMPILATION_CACHE_DIR``). ``import`` is what comes before any of our work.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from benchmarks import measure
from multirater_jax.methods import METHODS


def start(name: str, stage: int, cache: str) -> dict[str, float]:
  """Seconds of a fresh process for imports, and from there to the end of the first step."""
  environment = {
    **os.environ,
    'JAX_COMPILATION_CACHE_DIR': cache,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  command = [sys.executable, '-m', 'benchmarks.compile', '--child', name, str(stage)]
  done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
  return json.loads(done.stdout.splitlines()[-1])


def first_step(name: str, stage: int) -> None:
  """What the child does: builds a stage, takes one step, prints its times."""
  began = time.perf_counter()
  import jax

  from benchmarks.configured import example, training

  imported = time.perf_counter()
  batch = example(16, 64, 4)
  state, step = training(name, stage, batch)
  jax.block_until_ready(step(state, jax.random.key(1), batch))
  print(json.dumps({'import': imported - began, 'step': time.perf_counter() - imported}))


def starts(methods: list[str]) -> measure.Rows:
  """Every stage cold, then warm."""
  rows = []
  for name in methods:
    module = __import__(f'experiments.configs.{name}', fromlist=['get_config'])
    for number, stage in enumerate(module.get_config('phantom').stages):
      with tempfile.TemporaryDirectory() as cache:
        cold, warm = (start(name, number, cache) for _ in range(2))
      rows.append(
        {
          'method': name,
          'stage': stage,
          'import, s': warm['import'],
          'cold, s': cold['step'],
          'warm, s': warm['step'],
          'cold / warm': cold['step'] / warm['step'],
        }
      )
  return rows


def main() -> None:
  """Measures, or is the child that is measured."""
  parser = measure.parser(__doc__)
  parser.add_argument('--methods', default=','.join(METHODS), help='names of methods')
  parser.add_argument('--child', nargs=2, help='for this program itself')
  options = parser.parse_args()
  if options.child:
    first_step(options.child[0], int(options.child[1]))
    return
  methods = options.methods.split(',')
  methods = methods[:2] if options.quick else methods
  title = 'Seconds to the end of the first training step (64 x 64, 16 images)'
  measure.run([(title, lambda: starts(methods))], options.output)


if __name__ == '__main__':
  main()
