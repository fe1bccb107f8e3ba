"""Segmentation that keeps every rater: diverse, personalized, consensus, uncertainty.

A method is a tuple of pure functions (``Method``); ``METHODS`` maps names to factories. The rest
are plain-array calls: ``load`` a trained run, ``sample`` and ``personalize`` it, ``adapt`` it to a
new rater, ``score`` masks.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from multirater_jax.adaptation import adapt
  from multirater_jax.method import Batch, Loss, Method
  from multirater_jax.methods import METHODS
  from multirater_jax.metrics.score import score
  from multirater_jax.model import Model, load
  from multirater_jax.predict import personalize, sample

__all__ = [
  'METHODS',
  'Batch',
  'Loss',
  'Method',
  'Model',
  'adapt',
  'load',
  'personalize',
  'sample',
  'score',
]

# Imported at first use: processes that only read files need no JAX, which takes seconds to start.
_HOMES = {
  'METHODS': 'methods',
  'Batch': 'method',
  'Loss': 'method',
  'Method': 'method',
  'adapt': 'adaptation',
  'Model': 'model',
  'load': 'model',
  'personalize': 'predict',
  'sample': 'predict',
  'score': 'metrics.score',
}


def __getattr__(name: str) -> Any:
  if name not in _HOMES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
