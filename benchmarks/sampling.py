"""What samples and rater maps cost: by their number, by steps, beside a loop over single ones.

  python -m benchmarks.sampling                     all methods, 128 x 128, the CPU scale
  python -m benchmarks.sampling --scale=paper       as on accelerators
  python -m benchmarks.sampling --methods=diffoseg --quick

Times are of one image, medians of compiled calls; parameters are fresh, which changes no time.
FLOPs are XLA's count of the parts as written (of library calls in compiled ones it counts none).
The reference's cost of one DiffOSeg sample, 1.05e12 multiply-adds at 128 x 128, is 250 passes of
its network as its specification counts them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.configured import Configured, configured, example
from multirater_jax import diffusion_family
from multirater_jax.method import Batch, image_keys
from multirater_jax.methods import METHODS
from multirater_jax.metrics.surface import unit_surface_scores
from multirater_jax.networks.binding import bind
from multirater_jax.networks.frequency_prompts import FrequencyPrompts
from multirater_jax.networks.prompt_bank import PromptBank
from multirater_jax.scoring import count_probs

RATERS = 4
REFERENCE_MACS = 1.05e12
DIFFUSION = ('annotator_consensus', 'calidiff', 'ccdm', 'cimd', 'diffoseg')


def sample_call(found: Configured, size: int, number: int):
  """One image, ``number`` samples."""
  image, keys = example(1, size, RATERS)['image'], image_keys(jax.random.key(2), jnp.arange(1))
  draw = jax.jit(found.method.sample, static_argnums=3)
  return lambda: draw(found.params, keys, image, number)


def samples(methods: list[str], scale: str, size: int) -> measure.Rows:
  """One sample, 16, and 100 of methods that need one pass for all."""
  rows = []
  for name in methods:
    found = configured(name, scale, size=size)
    many = 16 if name in DIFFUSION else 100
    one, more = (measure.times(sample_call(found, size, n)).median for n in (1, many))
    single = sample_call(found, size, 1)
    loop = measure.times(lambda call=single, n=many: [call() for _ in range(n)], repeats=2).median
    rows.append(
      {
        'method': name,
        'one, ms': 1e3 * one,
        'samples': many,
        'ms': 1e3 * more,
        'times one': more / one,
        'loop times ours': loop / more,
        'samples/s': many / more,
      }
    )
  return rows


def scores(methods: list[str], scale: str, size: int) -> measure.Rows:
  """Drawing 50 samples of 16 images, and all their scores."""
  rows = []
  batch = example(16, size, RATERS)
  batch['valid'] = jnp.ones((16, size, size), bool)
  keys = image_keys(jax.random.key(2), jnp.arange(16))
  for name in methods:
    found = configured(name, scale, size=size)
    draw = functools.partial(jax.jit(found.method.sample, static_argnums=3), found.params, keys)
    probs = draw(batch['image'], 50)
    drawn = measure.times(lambda draw=draw: draw(batch['image'], 50), repeats=3).median
    counted = measure.times(lambda probs=probs: count_probs(probs, batch)).median
    surfaces = measure.times(lambda probs=probs: _surfaces(probs, batch), repeats=3).median
    rows.append(
      {
        'method': name,
        'draw, ms': 1e3 * drawn,
        'count, ms': 1e3 * counted,
        'surfaces, ms': 1e3 * surfaces,
        'scores / draw': (counted + surfaces) / drawn,
      }
    )
  return rows


def _surfaces(probs: jax.Array, batch: Batch) -> list[Any]:
  """Surface distances of every consensus to the raters, as the evaluation takes them."""
  masks, annotated = np.asarray(batch['masks']), np.asarray(batch['annotated'])
  consensus = np.asarray(probs.mean(1).argmax(-1).astype(jnp.uint8))[:, None]
  rows = zip(consensus, masks, annotated, strict=True)
  return [unit_surface_scores(*row, (1.0, 1.0), num_classes=2) for row in rows]


def raters(methods: list[str], scale: str, size: int) -> measure.Rows:
  """Personalized maps of 4 and of 16 raters, with the memory XLA sets aside for them."""
  rows = []
  image, keys = example(1, size, RATERS)['image'], image_keys(jax.random.key(2), jnp.arange(1))
  for name in methods:
    seconds, megabytes = {}, {}
    for number in (4, 16):
      found = configured(name, scale, size=size, num_raters=number)
      if found.method.personalize is None:
        break
      lowered = jax.jit(found.method.personalize).lower(found.params, keys, image, jnp.eye(number))
      draw = lowered.compile()
      megabytes[number] = draw.memory_analysis().temp_size_in_bytes / 2**20
      call = functools.partial(draw, found.params, keys, image, jnp.eye(number))
      seconds[number] = measure.times(call).median
    if seconds:
      rows.append(
        {
          'method': name,
          '4 raters, ms': 1e3 * seconds[4],
          '16 raters, ms': 1e3 * seconds[16],
          'ratio': seconds[16] / seconds[4],
          '4, MB': megabytes[4],
          '16, MB': megabytes[16],
        }
      )
  return rows


def spectral_memory(size: int) -> measure.Rows:
  """Working memory of the scanned spectral pass over 4 to 64 raters; its output comes on top."""
  rows = []
  side = size // 4  # of the map it works on
  for number in (4, 16, 64):
    prompts = FrequencyPrompts(number, latent_dim=6)
    parts = jnp.zeros((1, side, side, 64)), jnp.zeros((1, 32, 6)), jnp.eye(number)
    params = prompts.init(jax.random.key(0), *parts)
    memory = jax.jit(prompts.apply).lower(params, *parts).compile().memory_analysis()
    rows.append(
      {
        'raters': number,
        'working, MB': memory.temp_size_in_bytes / 2**20,
        'output, MB': memory.output_size_in_bytes / 2**20,
      }
    )
  return rows


def diffoseg_flops(size: int) -> measure.Rows:
  """FLOPs of one sample of DiffOSeg's second stage: the trunk once, the denoiser every step."""
  rows = []
  for scale in ('cpu', 'paper'):
    found = configured('diffoseg', scale, size=size)
    model = found.config['model']
    network = diffusion_family.make_network(
      2,
      trunk=model['trunk'],
      denoiser=model['denoiser'],
      bottleneck=PromptBank(dtype=model['dtype']),
      dtype=model['dtype'],
    )
    run = bind(network, found.params)
    image, t = jnp.zeros((1, size, size, 1)), jnp.zeros(1, jnp.int32)
    x, style = jnp.zeros((1, size, size, 2)), jnp.zeros((1, RATERS))
    read = functools.partial(run, 'encode')
    encode = _flops(read, image)
    features = jnp.zeros_like(jax.eval_shape(read, image))
    step = _flops(functools.partial(run, 'denoise'), x, t, features, style)
    total = encode + model['num_steps'] * step
    rows.append(
      {
        'scale': scale,
        'trunk, GFLOP': encode / 1e9,
        'step, GFLOP': step / 1e9,
        'steps': model['num_steps'],
        'sample, GFLOP': total / 1e9,
        'reference / ours': 2 * REFERENCE_MACS / total,
      }
    )
  return rows


def _flops(function, *arguments) -> float:
  return jax.jit(function).lower(*arguments).cost_analysis()['flops']


def main() -> None:
  """Measures what the options ask for."""
  parser = measure.parser(__doc__)
  parser.add_argument('--methods', default=','.join(METHODS), help='names of methods')
  parser.add_argument('--scale', default='cpu', choices=('cpu', 'paper'))
  options = parser.parse_args()
  methods, size = options.methods.split(','), 64 if options.quick else 128
  measure.run(
    [
      ('Samples of one image', lambda: samples(methods, options.scale, size)),
      ('Rater maps of one image', lambda: raters(methods, options.scale, size)),
      ('50 samples of 16 images, and their scores', lambda: scores(methods, options.scale, size)),
      ('Memory of the spectral pass', lambda: spectral_memory(size)),
      ('FLOPs of one DiffOSeg sample at 128 x 128', lambda: diffoseg_flops(128)),
    ],
    options.output,
  )


if __name__ == '__main__':
  main()
