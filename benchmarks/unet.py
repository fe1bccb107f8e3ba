"""A training step of one U-Net, here and in PyTorch.

  python -m benchmarks.unet            128 x 128, 12 images
  python -m benchmarks.unet --quick    64 x 64, 4 images

Widths 32, 64, 128, 192, three convolutions a block, cross-entropy, Adam: ``eager float32 NCHW`` is
what the papers' code does, ``channels-last, bf16, compiled`` what an expert would do. The forward
passes are compared on copied weights first. PyTorch takes part where it is installed
(``pip install multirater_jax[bench]``).
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
from benchmarks.configured import example
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


def main() -> None:
  """Measures what the options ask for."""
  options = measure.parser(__doc__).parse_args()
  size, batch = (64, 4) if options.quick else (128, 12)
  title = f'Training step of a U-Net, {size} x {size}, {batch} images'
  measure.run([(title, lambda: beside_torch(size, batch))], options.output, dtype='bfloat16')


if __name__ == '__main__':
  main()
