"""Projection heads: what each rater asks of a bank of prior samples."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.stacked import StackedConv
from multirater_jax.networks.unet import average_pool, check_size


class ProjectionHeads(nn.Module):
  """One small encoder a rater turns features into a query [z]; the raters are one stacked array.

  Levels of two 3x3 convolutions with an average pool between them, then the mean over space.
  ``pool`` averages the features before the first level, which CPUs ask for.

  Source: Wu et al. 2024 (arXiv:2403.13417), stage 2. Here the maps keep their size, there is no
  dropout, and the last level has no ReLU: with it a query could only point to positive codes.
  """

  num_raters: int
  latent_dim: int
  widths: tuple[int, ...] = (32, 16)
  pool: int = 1
  dtype: Any = None

  @nn.compact
  def __call__(  # noqa: D102
    self, features: Float[Array, 'b h w c'], style: Float[Array, '*b s r']
  ) -> Float[Array, 'b s z']:
    check_size(features, self.pool)
    x = features if self.pool == 1 else average_pool(features, self.pool)
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, None], (b, style.shape[-2], h, w, c))
    for level, width in enumerate((*self.widths, self.latent_dim)):
      if level:
        x = _halve(nn.relu(x))
      x = nn.relu(StackedConv(self.num_raters, width, self.dtype)(x, style))
      x = StackedConv(self.num_raters, width, self.dtype)(x, style)
    return x.astype(jnp.float32).mean((2, 3))


def _halve(x: Float[Array, 'b s h w c']) -> Float[Array, 'b s h2 w2 c']:
  """Average pooling; an odd last row or column is left out."""
  b, s, h, w, c = x.shape
  x = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(b * s, h // 2 * 2, w // 2 * 2, c)
  return average_pool(x).reshape(b, s, h // 2, w // 2, c)


def mix_bank(queries: Float[Array, 'b r z'], bank: Float[Array, 'b s z']) -> Float[Array, 'b r z']:
  """A convex mixture of the bank for each query: softmax over s of q . z_s.

  Source: Wu et al. 2024 (arXiv:2403.13417), stage 2: neither scaling nor projections.
  """
  weights = jax.nn.softmax(jnp.einsum('brz,bsz->brs', queries, bank))
  return jnp.einsum('brs,bsz->brz', weights, bank)
