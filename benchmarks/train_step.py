"""Images a second of the training steps of all methods, and what share of the device they use.

  python -m benchmarks.train_step                              all stages, 64 x 64, 16 images
  python -m benchmarks.train_step --scale=paper --size=128 --batch=12 --methods=harmonized,ccdm

Ceilings are those of this device as measured here: a large matrix product (in float32 on CPUs, else
in bfloat16), a large copy.
"""

import functools

import jax
import jax.numpy as jnp

from benchmarks import measure
from benchmarks.configured import example, training
from multirater_jax.methods import METHODS


def ceilings(side: int) -> tuple[float, float]:
  """FLOP/s of a matrix product of this side, and bytes/s of a copy."""
  a = jnp.ones((side, side), jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16)
  product = measure.times(functools.partial(jax.jit(jnp.matmul), a, a)).median
  block = jnp.ones((2**26,), jnp.float32)
  copied = measure.times(functools.partial(jax.jit(lambda x: x + 1), block)).median
  return 2 * side**3 / product, 2 * block.nbytes / copied


def methods_table(
  methods: list[str], size: int, batch: int, side: int, **settings: str | None
) -> measure.Rows:
  """Every stage: images a second, and its shares of the ceilings (loops counted once)."""
  flop_rate, byte_rate = ceilings(side)
  rows = []
  for name in methods:
    module = __import__(f'experiments.configs.{name}', fromlist=['get_config'])
    for number, stage in enumerate(module.get_config('phantom').stages):
      state, step = training(name, number, given := example(batch, size, 4), **settings)
      lowered = step.lower(state, jax.random.key(1), given)
      flops = lowered.cost_analysis()['flops']  # as written: of calls to libraries XLA knows none
      read = lowered.compile().cost_analysis()['bytes accessed']
      held = [state]

      def call(held=held, step=step, given=given):
        held[0], logs = step(held[0], jax.random.key(1), given)
        return logs

      taken = measure.times(call, repeats=5)
      rows.append(
        {
          'method': name,
          'stage': stage,
          'ms': 1e3 * taken.median,
          'images/s': batch / taken.median,
          'GFLOP': flops / 1e9,
          'of peak FLOP/s': flops / taken.median / flop_rate,
          'of peak bytes/s': read / taken.median / byte_rate,
        }
      )
  return rows


def main() -> None:
  """Measures what the options ask for."""
  parser = measure.parser(__doc__)
  parser.add_argument('--methods', default=','.join(METHODS), help='names of methods')
  parser.add_argument('--size', type=int, default=64, help='pixels')
  parser.add_argument('--batch', type=int, default=16, help='images')
  parser.add_argument('--scale', default='cpu', choices=('cpu', 'paper'))
  parser.add_argument('--dtype', help='by default that of the configs')
  options = parser.parse_args()
  methods, side = options.methods.split(','), 1024 if options.quick else 3000
  methods = methods[:2] if options.quick else methods
  title = f'Training steps, {options.size} x {options.size}, {options.batch} images'

  def table():
    settings = {'scale': options.scale, 'dtype': options.dtype}
    return methods_table(methods, options.size, options.batch, side, **settings)

  default = 'bfloat16' if options.scale == 'paper' else None
  measure.run([(title, table)], options.output, dtype=options.dtype or default)


if __name__ == '__main__':
  main()
