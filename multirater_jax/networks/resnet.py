"""The U-Net trunk of the papers: a ResNet-34 encoder, and a decoder of five blocks."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file

from multirater_jax.networks.convolution import Conv
from multirater_jax.networks.unet import (
  AfterBlock,
  ConvBlock,
  Features,
  Map,
  Resized,
  check_size,
  upsample,
)

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width and residual blocks at 1/4 ... 1/32 size
EPSILON = 1e-5  # of the batch norm that pretrained weights were trained with
NORMS = ('group', 'frozen_affine')

_he_normal = nn.initializers.he_normal()


class FrozenAffine(nn.Module):
  """Scale and bias per channel: what a trained batch norm does at inference.

  Modules of this kind are named ``frozen_...``, for a freeze pattern to catch.
  """

  @nn.compact
  def __call__(self, x: Map) -> Map:  # noqa: D102
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
    return x * scale.astype(x.dtype) + bias.astype(x.dtype)


def _norm(kind: str, name: str, dtype: Any) -> nn.Module:
  if kind == 'frozen_affine':
    return FrozenAffine(name=f'frozen_{name}')
  return nn.GroupNorm(num_groups=None, group_size=8, dtype=dtype, name=name)


def _conv(width: int, size: int, stride: int, *, name: str, dtype: Any) -> nn.Module:
  return Conv(
    width,
    (size, size),
    strides=stride,
    padding=size // 2,  # the same on all sides, also with a stride, as pretrained weights expect
    use_bias=False,
    kernel_init=_he_normal,
    dtype=dtype,
    name=name,
  )


class ResidualBlock(nn.Module):
  """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

  width: int
  stride: int = 1
  norm: str = 'group'
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Map) -> Resized:  # noqa: D102
    y = _conv(self.width, 3, self.stride, name='conv1', dtype=self.dtype)(x)
    y = nn.relu(_norm(self.norm, 'norm1', self.dtype)(y))
    y = _conv(self.width, 3, 1, name='conv2', dtype=self.dtype)(y)
    y = _norm(self.norm, 'norm2', self.dtype)(y)
    if self.stride != 1 or x.shape[-1] != self.width:
      x = _conv(self.width, 1, self.stride, name='shortcut', dtype=self.dtype)(x)
      x = _norm(self.norm, 'norm_shortcut', self.dtype)(x)
    return nn.relu(x + y)


class ResNet34(nn.Module):
  """The encoder: maps at 1/2, 1/4, 1/8, 1/16 and 1/32 size with 64, 64, 128, 256, 512 channels.

  Source: He et al. 2015 (arXiv:1512.03385), table 1.
  """

  norm: str = 'group'
  dtype: Any = None

  @nn.compact
  def __call__(self, image: Map) -> list[Any]:  # noqa: D102
    x = _conv(64, 7, 2, name='stem', dtype=self.dtype)(image)
    x = nn.relu(_norm(self.norm, 'norm', self.dtype)(x))
    maps = [x]
    x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    for stage, (width, blocks) in enumerate(STAGES, start=1):
      for block in range(blocks):
        stride = 2 if stage > 1 and block == 0 else 1
        name = f'stage{stage}_block{block}'
        x = ResidualBlock(width, stride, self.norm, self.dtype, name=name)(x)
      maps.append(x)
    return maps


class ResNetUNet(nn.Module):
  """U-Net of a ResNet-34 ``encoder`` and five decoder blocks, the last one at full size.

  Each decoder block repeats pixels 2x2, joins the encoder's map of that size (the last has none)
  and applies two 3x3 convolutions. ``norm`` concerns the encoder: ``'group'`` when trained from
  scratch, ``'frozen_affine'`` with weights of ``load_torchvision``; the decoder always has group
  norm. With one channel the encoder has 21,278,400 parameters, the decoder 3,151,552.

  Source: the trunk of D-Persona (Wu et al. 2024, arXiv:2403.13417), batch norm replaced.
  """

  norm: str = 'group'
  widths: tuple[int, ...] = (256, 128, 64, 32, 16)
  dtype: Any = None

  @nn.compact
  def __call__(self, image: Map, after_block: AfterBlock | None = None) -> Features:
    """Returns features; ``after_block(level, map)`` may replace each decoder block's output."""
    if self.norm not in NORMS:
      raise ValueError(f'Unknown norm {self.norm!r} of the ResNet trunk: use one of {NORMS}.')
    check_size(image, 2 ** len(self.widths))
    image = image.astype(self.dtype or image.dtype)
    *skips, x = ResNet34(self.norm, self.dtype, name='encoder')(image)
    levels = []
    for level, (width, skip) in enumerate(zip(self.widths, [*skips[::-1], None], strict=True)):
      x = upsample(x)
      x = x if skip is None else jnp.concatenate([x, skip], axis=-1)
      x = ConvBlock(width, dtype=self.dtype, name=f'decoder{level}')(x)
      x = after_block(level, x) if after_block else x
      levels.append(x)
    return Features(x, tuple(levels))


def load_torchvision(path: str | Path, channels: int) -> dict[str, Any]:
  """Parameters of the ``encoder`` from a local ResNet-34 file in safetensors, torchvision's names.

  For ``ResNetUNet(norm='frozen_affine')``: batch norm becomes scale = g / sqrt(var + 1e-5) and
  bias = b - mean scale. One input channel takes the sum of the stem's three; any other number
  ``c`` repeats them in turn, times 3 / c. Raises ValueError when the file is missing, damaged or
  holds another network.
  """
  path = Path(path)
  tensors = _read(path)
  try:
    params = _encoder(tensors, channels)
  except KeyError as error:
    raise ValueError(
      f'{path} has no tensor {error}: give a ResNet-34 under the names of torchvision.'
    ) from None
  _check_shapes(path, params, channels)
  return jax.tree.map(jnp.asarray, params)


def _read(path: Path) -> dict[str, np.ndarray]:
  if not path.is_file():
    raise ValueError(f'There is no weight file {path}: give a local ResNet-34 in safetensors.')
  try:
    return {name: value.astype(np.float32) for name, value in load_file(path).items()}
  except (SafetensorError, KeyError, TypeError) as error:
    raise ValueError(f'{path} is no readable safetensors file ({error}): fetch it anew.') from error


def _check_shapes(path: Path, params: dict[str, Any], channels: int) -> None:
  image = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
  wanted = jax.eval_shape(ResNet34('frozen_affine').init, jax.random.key(0), image)['params']
  for (keys, value), leaf in zip(
    jax.tree.leaves_with_path(params), jax.tree.leaves(wanted), strict=True
  ):
    if value.shape != leaf.shape:
      name = jax.tree_util.keystr(keys, simple=True, separator='/')
      raise ValueError(
        f'{path} holds another network: {name} is {value.shape}, ResNet-34 has {leaf.shape}.'
      )


def _encoder(tensors: dict[str, np.ndarray], channels: int) -> dict[str, Any]:
  stem = {'kernel': _stem(tensors['conv1.weight'], channels)}
  params = {'stem': stem, 'frozen_norm': _affine(tensors, 'bn1')}
  for stage, (_, blocks) in enumerate(STAGES, start=1):
    for block in range(blocks):
      params[f'stage{stage}_block{block}'] = _block(tensors, f'layer{stage}.{block}')
  return params


def _block(tensors: dict[str, np.ndarray], name: str) -> dict[str, Any]:
  params = {}
  for number in (1, 2):
    params[f'conv{number}'] = {'kernel': _kernel(tensors[f'{name}.conv{number}.weight'])}
    params[f'frozen_norm{number}'] = _affine(tensors, f'{name}.bn{number}')
  if name.endswith('.0') and not name.startswith('layer1'):
    params['shortcut'] = {'kernel': _kernel(tensors[f'{name}.downsample.0.weight'])}
    params['frozen_norm_shortcut'] = _affine(tensors, f'{name}.downsample.1')
  return params


def _kernel(weight: Float[np.ndarray, 'o i h w']) -> Float[np.ndarray, 'h w i o']:
  return weight.transpose(2, 3, 1, 0)


def _stem(weight: Float[np.ndarray, 'o 3 h w'], channels: int) -> Float[np.ndarray, 'h w c o']:
  kernel = _kernel(weight)
  if channels == 1:
    return kernel.sum(axis=2, keepdims=True)
  return kernel[:, :, np.arange(channels) % 3] * (3 / channels)


def _affine(tensors: dict[str, np.ndarray], name: str) -> dict[str, Float[np.ndarray, ' c']]:
  scale = tensors[f'{name}.weight'] / np.sqrt(tensors[f'{name}.running_var'] + EPSILON)
  return {'scale': scale, 'bias': tensors[f'{name}.bias'] - tensors[f'{name}.running_mean'] * scale}
