"""Attention from rater to rater: what makes one network of shared weights a joint model."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.unet import Map


class CrossRaterAttention(nn.Module):
  """Residual attention between the ``group`` rows of an image, at every position by itself.

  Rows come image by image. One whose style is all zero is an absent rater: nobody attends to it.
  Starts as the identity.

  Source: ours, for the committee of CaliDiff (Medical Image Analysis 107, 103812).
  """

  group: int
  head_width: int = 32
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Map, style: Float[Array, 'b d']) -> Map:  # noqa: D102
    n, h, w, c = x.shape
    heads = max(c // self.head_width, 1)
    y = nn.GroupNorm(num_groups=1, dtype=self.dtype)(x)
    width = (3, heads, self.head_width)
    qkv = nn.DenseGeneral(width, dtype=self.dtype, name='qkv')(y)
    q, k, v = jnp.moveaxis(qkv.reshape(-1, self.group, h, w, *width), -3, 0)
    scores = jnp.einsum('brijhd,bsijhd->bijhrs', q, k) / jnp.sqrt(self.head_width)
    present = (style != 0).any(-1).reshape(-1, 1, 1, 1, 1, self.group)
    weights = jax.nn.softmax(jnp.where(present, scores.astype(jnp.float32), -1e9))
    y = jnp.einsum('bijhrs,bsijhd->brijhd', weights.astype(v.dtype), v)
    zeros = nn.initializers.zeros
    y = nn.DenseGeneral(c, (-2, -1), kernel_init=zeros, dtype=self.dtype, name='output')(y)
    return x + y.reshape(n, h, w, c)
