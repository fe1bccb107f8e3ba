"""Images a second of training steps: every method, and a U-Net beside the same one in PyTorch.

  python -m benchmarks.train_step                   the U-Net, then all stages of all methods
  python -m benchmarks.train_step --quick --methods=prob_unet

The peers run one U-Net (widths 32, 64, 128, 192, three convolutions a block), 128 x 128, 12 images,
cross-entropy, Adam: ``eager float32 NCHW`` is what the papers' code does, ``channels-last, bf16,
compiled`` what an expert would do. Their forward passes are compared on copied weights first.
PyTorch takes part where it is installed (``pip install multirater_jax[bench]``). Ceilings are those
of this device as measured here: a large matrix product, a large copy.
"""

import functools
import importlib.util
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import measure
from benchmarks.configured import example, training
from multirater_jax.methods import METHODS
from multirater_jax.networks.unet import UNet

WIDTHS, CONVS = (32, 64, 128, 192), 3


class Segmenter(nn.Module):
  """The library's U-Net with a linear head."""

  dtype: str | None = None

  @nn.compact
  def __call__(self, image):  # noqa: D102
    full = UNet(WIDTHS, CONVS, dtype=self.dtype, name='unet')(image).full
    return nn.Dense(2, name='head')(full.astype(jnp.float32))


def data(size: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
  """Noise images and disc masks."""
  found = example(batch, size, 1)
  return np.array(found['image']), np.array(found['masks'][:, 0])


def ours(size: int, batch: int, dtype: str | None) -> Callable:
  """A compiled step of the library's U-Net."""
  model, (image, masks) = Segmenter(dtype), data(size, batch)
  params = model.init(jax.random.key(0), image)['params']
  optimizer = optax.adam(1e-3)

  def loss(params):
    logits = model.apply({'params': params}, image)
    return optax.softmax_cross_entropy_with_integer_labels(logits, masks).mean()

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params, state):
    gradient = jax.grad(loss)(params)
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state

  held = [params, optimizer.init(params)]

  def call():
    held[:] = step(*held)
    return held[0]

  return call


def peer(size: int, batch: int, *, expert: bool) -> Callable:
  """A step of the same network in PyTorch."""
  import torch

  from benchmarks.torch_unet import UNet as TorchUNet

  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  layout = torch.channels_last if expert else torch.contiguous_format
  model = TorchUNet(WIDTHS, CONVS).to(device).to(memory_format=layout)
  image, masks = (torch.from_numpy(part).to(device) for part in data(size, batch))
  image = image.permute(0, 3, 1, 2).contiguous(memory_format=layout)
  masks = masks.long()
  optimizer = torch.optim.Adam(model.parameters(), 1e-3)
  run = torch.compile(model) if expert else model

  def call():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=expert):
      value = nn_loss(run(image).float(), masks)
    value.backward()
    optimizer.step()
    if device == 'cuda':
      torch.cuda.synchronize()
    return value.detach()

  nn_loss = torch.nn.functional.cross_entropy
  return call


def parity(size: int) -> float:
  """Largest difference of the two forward passes on the same weights."""
  import torch

  from benchmarks.torch_unet import UNet as TorchUNet
  from benchmarks.torch_unet import copy_weights

  model, (image, _) = Segmenter(), data(size, 2)
  params = model.init(jax.random.key(0), image)['params']
  other = TorchUNet(WIDTHS, CONVS)
  copy_weights(other, jax.tree.map(np.asarray, params))
  with torch.no_grad():
    logits = other(torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
  return float(np.abs(logits - model.apply({'params': params}, image)).max())


def beside_torch(size: int, batch: int) -> measure.Rows:
  """The U-Net in both libraries; ratios are to eager float32."""
  forms = {
    'ours, float32': functools.partial(ours, size, batch, None),
    'ours, bfloat16': functools.partial(ours, size, batch, 'bfloat16'),
  }
  if importlib.util.find_spec('torch'):
    print(f'largest difference of the forward passes: {parity(64):.1e}')
    forms['PyTorch, eager float32 NCHW'] = functools.partial(peer, size, batch, expert=False)
    forms['PyTorch, channels-last, bf16, compiled'] = functools.partial(
      peer, size, batch, expert=True
    )
  found = {name: measure.times(make()) for name, make in forms.items()}
  eager = found.get('PyTorch, eager float32 NCHW')
  return [
    {
      'form': name,
      'ms': 1e3 * taken.median,
      'spread, ms': 1e3 * (taken.high - taken.low),
      'images/s': batch / taken.median,
      'times eager': eager.median / taken.median if eager else float('nan'),
    }
    for name, taken in found.items()
  ]


def ceilings(side: int) -> tuple[float, float]:
  """FLOP/s of a matrix product of this side, and bytes/s of a copy."""
  a = jnp.ones((side, side), jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16)
  product = measure.times(functools.partial(jax.jit(jnp.matmul), a, a)).median
  block = jnp.ones((2**26,), jnp.float32)
  copied = measure.times(functools.partial(jax.jit(lambda x: x + 1), block)).median
  return 2 * side**3 / product, 2 * block.nbytes / copied


def methods_table(
  methods: list[str], size: int, batch: int, side: int, dtype: str | None
) -> measure.Rows:
  """Every stage: images a second, and its shares of the ceilings (loops counted once)."""
  flop_rate, byte_rate = ceilings(side) if methods else (1.0, 1.0)
  rows = []
  for name in methods:
    module = __import__(f'experiments.configs.{name}', fromlist=['get_config'])
    for number, stage in enumerate(module.get_config('phantom').stages):
      state, step = training(name, number, given := example(batch, size, 4), dtype=dtype)
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
  parser.add_argument('--size', type=int, default=64, help='of the methods, pixels')
  parser.add_argument('--batch', type=int, default=16, help='of the methods')
  parser.add_argument('--dtype', help='of the methods; by default that of their configs')
  options = parser.parse_args()
  methods = [name for name in options.methods.split(',') if name]
  size, batch, side = (64, 4, 1024) if options.quick else (128, 12, 3000)
  title = f'Training step of a U-Net, {size} x {size}, {batch} images'
  measure.run(
    [
      (title, lambda: beside_torch(size, batch)),
      (
        f'Training steps of the methods, {options.size} x {options.size}, {options.batch} images',
        lambda: methods_table(methods, options.size, options.batch, side, options.dtype),
      ),
    ],
    options.output,
  )


if __name__ == '__main__':
  main()
