"""Sizes at the published scale (ResNet-34 trunk, 128x128, 4 raters, 1 channel) beside the papers'.

Published counts are those of the specifications made from the papers' code.
"""

import importlib
import math
import re

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util

from multirater_jax.experiment import build_method

TRUNK = 21_278_400 + 3_151_552  # encoder and decoder, one input channel
# method -> [(parameters, published count)]; the pattern picks what is counted.
PUBLISHED = {
  'prob_unet': [('trunk/', TRUNK), ('posterior_encoder', 1.97e6), ('prior_encoder', 1.97e6)],
  'dpersona': [('', 28.46e6), ('^raters/', 88_128), ('^base/trunk/', TRUNK)],
  'pionono': [('', 24.44e6 + 700 + 4 * (8 + 64))],
  # The paper's code rebuilds images by a second trunk (24.45 M); here two convolutions do.
  'proseg': [('', 48.97e6 - 24.45e6)],
  'harmonized': [('^modulation/', 0.14e6), ('^prompts/', 0.07e6), ('^base/trunk/', TRUNK)],
}
TOLERANCE = {'^modulation/': 0.05, '^prompts/': 0.05}  # budgets named with two digits


@pytest.mark.parametrize('name', PUBLISHED)
def test_counts_are_those_of_the_papers(name):
  module = importlib.import_module(f'experiments.configs.{name}')
  config = module.get_config('lidc_slices,paper').to_dict()
  method = build_method(config, config['stages'][-1], num_raters=4, num_classes=2)
  batch = {
    'image': jnp.zeros((1, 128, 128, 1)),
    'masks': jnp.zeros((1, 4, 128, 128), jnp.uint8),
    'annotated': jnp.ones((1, 4), bool),
    'case': jnp.zeros(1, jnp.int32),
    'index': jnp.zeros(1, jnp.int32),
  }
  shapes = jax.eval_shape(method.init, jax.random.key(0), batch)
  sizes = {
    key: math.prod(leaf.shape) for key, leaf in traverse_util.flatten_dict(shapes, sep='/').items()
  }
  for pattern, published in PUBLISHED[name]:
    found = sum(size for key, size in sizes.items() if re.search(pattern, key))
    assert found == pytest.approx(published, rel=TOLERANCE.get(pattern, 0.02)), (pattern, found)
