"""A Linen module under its parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

Run = Callable  # (name of a method, *arrays) -> its result


def bind(module: nn.Module, params: Mapping[str, Any]) -> Run:
  """Calls of a module's methods by name: ``bind(model, params)('prior', image)``."""
  return lambda method, *args: module.apply({'params': params}, *args, method=method)
