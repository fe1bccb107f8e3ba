"""The Harmonizer: artefact tokens that look at a feature map and rescale its channels."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.unet import average_pool

_MOST_PIXELS = 32  # keys and values are pooled to at most 32x32


class Modulation(nn.Module):
  """Predicts (gamma - 1, beta) of every channel of a feature map from learnable artefact tokens.

  Tokens are queries, pixels are keys and values; the attended tokens are averaged and a two-layer
  MLP reads them. Tokens, attention and first MLP layer are shared by all levels that call the
  module; the adapter and the output layer belong to a level. Output layers start at zero.

  Source: Karimijafarbigloo et al. (arXiv:2605.08210), as told by its public notes. Number and width
  of tokens, heads, adapters and pooling are ours, sized to the 0.14 M parameters of the paper.
  """

  num_tokens: int = 16
  width: int = 64
  hidden: int = 80
  num_heads: int = 4
  dtype: Any = None

  @nn.compact
  def __call__(
    self, level: int, x: Float[Array, 'b h w c']
  ) -> tuple[Float[Array, 'b c'], Float[Array, 'b c']]:
    """Returns gamma - 1 and beta."""
    tokens = self.param('tokens', nn.initializers.normal(1.0), (self.num_tokens, self.width))
    tokens = nn.LayerNorm(name='token_norm')(tokens)
    pixels = nn.Dense(self.width, dtype=self.dtype, name=f'adapter_{level}')(_pool(x))
    pixels = nn.LayerNorm(name='pixel_norm', dtype=self.dtype)(pixels)
    tokens = jnp.broadcast_to(tokens, (x.shape[0], *tokens.shape))
    attended = nn.MultiHeadDotProductAttention(
      self.num_heads, dtype=self.dtype, name='attention', deterministic=True
    )(tokens, pixels.reshape(x.shape[0], -1, self.width))
    hidden = nn.gelu(nn.Dense(self.hidden, name='mlp')((tokens + attended).mean(1)))
    zero = nn.initializers.zeros
    out = nn.Dense(2 * x.shape[-1], kernel_init=zero, name=f'output_{level}')(hidden)
    return tuple(jnp.split(out.astype(jnp.float32), 2, axis=-1))


def modulate(
  x: Float[Array, 'b h w c'], gamma: Float[Array, 'b c'], beta: Float[Array, 'b c']
) -> Float[Array, 'b h w c']:
  """(1 + gamma) x + beta, channel by channel: the identity where both are zero."""
  gamma, beta = (value.astype(x.dtype)[:, None, None] for value in (gamma, beta))
  return (1 + gamma) * x + beta


def penalty(gamma: Float[Array, 'b c'], beta: Float[Array, 'b c']) -> Float[Array, ' b']:
  """Mean over channels of gamma^2 + beta^2: how far a level is from being left alone."""
  return (jax.lax.square(gamma) + jax.lax.square(beta)).mean(-1)


def _pool(x):
  factor = 1
  while max(x.shape[1:3]) // factor > _MOST_PIXELS:
    factor *= 2
  divisible = x.shape[1] % factor == 0 and x.shape[2] % factor == 0
  return average_pool(x, factor) if divisible else x
