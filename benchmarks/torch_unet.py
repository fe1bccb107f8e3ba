"""The library's U-Net in PyTorch, as a user of the papers' code would write it; NCHW."""

import numpy as np
import torch
from torch import nn


class ConvBlock(nn.Module):
  """``convs`` times 3x3 convolution, group norm, ReLU."""

  def __init__(self, inputs: int, width: int, convs: int):
    super().__init__()
    layers = []
    for number in range(convs):
      layers += [
        nn.Conv2d(width if number else inputs, width, 3, padding=1, bias=False),
        nn.GroupNorm(width // min(8, width), width, eps=1e-6),
        nn.ReLU(inplace=True),
      ]
    self.layers = nn.Sequential(*layers)

  def forward(self, x):
    """The block."""
    return self.layers(x)


class UNet(nn.Module):
  """Average pooling down, nearest upsampling, skips; class logits."""

  def __init__(self, widths: tuple[int, ...], convs: int, features: int = 16, classes: int = 2):
    super().__init__()
    ins = (1, *widths[:-1])
    self.down = nn.ModuleList(ConvBlock(i, w, convs) for i, w in zip(ins, widths, strict=True))
    pairs = zip(widths[::-1], widths[-2::-1], strict=False)
    self.up = nn.ModuleList(ConvBlock(deep + width, width, convs) for deep, width in pairs)
    self.to_features = nn.Conv2d(widths[0], features, 1)
    self.head = nn.Conv2d(features, classes, 1)

  def forward(self, x):
    """Logits of every pixel."""
    skips = []
    for number, block in enumerate(self.down):
      x = block(nn.functional.avg_pool2d(x, 2) if number else x)
      skips.append(x)
    skips.pop()
    for block in self.up:
      x = nn.functional.interpolate(x, scale_factor=2, mode='nearest')
      x = block(torch.cat([x, skips.pop()], 1))
    return self.head(self.to_features(x))


def copy_weights(model: UNet, params: dict) -> None:
  """Takes over the parameters of the Flax network, whose blocks are numbered down, then up."""
  blocks = [*model.down, *model.up]
  for number, block in enumerate(blocks):
    given = params['unet'][f'ConvBlock_{number}']
    for place in range(len(block.layers) // 3):
      conv, norm = block.layers[3 * place], block.layers[3 * place + 1]
      _set(conv.weight, np.transpose(given[f'Conv_{place}']['kernel'], (3, 2, 0, 1)))
      _set(norm.weight, given[f'GroupNorm_{place}']['scale'])
      _set(norm.bias, given[f'GroupNorm_{place}']['bias'])
  for layer, given in (
    (model.to_features, params['unet']['to_features']),
    (model.head, params['head']),
  ):
    _set(layer.weight, np.transpose(given['kernel'])[:, :, None, None])
    _set(layer.bias, given['bias'])


def _set(parameter: nn.Parameter, value: np.ndarray) -> None:
  with torch.no_grad():
    parameter.copy_(torch.from_numpy(np.array(value)))
