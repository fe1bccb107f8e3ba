"""The trunks a method can stand on, by name."""

from typing import Any

import flax.linen as nn

from multirater_jax.networks.resnet import ResNetUNet
from multirater_jax.networks.unet import UNet

TRUNKS = {'unet': UNet, 'resnet34': ResNetUNet}


def make_trunk(name: str = 'unet', *, dtype: Any = None, **arguments: Any) -> nn.Module:
  """Builds a trunk; ``arguments`` are the fields of its module.

  Raises ValueError on a wrong name.
  """
  if name not in TRUNKS:
    raise ValueError(f'There is no trunk "{name}"; choose one of {", ".join(TRUNKS)}.')
  fields = [f for f in TRUNKS[name].__dataclass_fields__ if f not in ('parent', 'name')]
  unknown = sorted(set(arguments) - set(fields))
  if unknown:
    raise ValueError(
      f'The trunk "{name}" has no argument {", ".join(unknown)}; it takes {", ".join(fields)}.'
    )
  return TRUNKS[name](dtype=dtype, **arguments)
