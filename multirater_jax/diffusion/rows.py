"""Rows of a folded batch, one sample of one image each: their keys, steps and noise levels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key, Shaped

Keys = Key[Array, ' n'] | Shaped[Array, ' n']  # one a row
Level = Float[Array, ' n'] | Float[Array, '']  # abar of every row, or of all


def spread(level: Level, x: Float[Array, 'n *i k']) -> Float[Array, '...']:
  """``level`` shaped to multiply ``x``."""
  level = jnp.asarray(level, x.dtype)
  return level.reshape(level.shape[:1] + (1,) * (x.ndim - level.ndim))


def fold(x: Shaped[Array, 'b s *i']) -> Shaped[Array, ' n *i']:
  """Images and their samples as rows of one batch."""
  return x.reshape(-1, *x.shape[2:])


def unfold(x: Shaped[Array, ' n *i'], count: int) -> Shaped[Array, 'b s *i']:
  """Undoes ``fold`` for ``count`` samples an image."""
  return x.reshape(-1, count, *x.shape[1:])


def repeat(x: Shaped[Array, ' b *i'], count: int) -> Shaped[Array, ' n *i']:
  """Every image ``count`` times in a row. A broadcast, so a sharded batch stays where it is."""
  return fold(jnp.broadcast_to(x[:, None], (len(x), count, *x.shape[1:])))


def step_keys(keys: Keys, step: jax.Array | int) -> Keys:
  """The keys of one step of a chain."""
  return jax.vmap(jax.random.fold_in, (0, None))(keys, step)


def sample_keys(
  keys: Key[Array, ' b'] | Shaped[Array, ' b'], count: int
) -> Key[Array, 'b s'] | Shaped[Array, 'b s']:
  """``count`` keys of every image."""
  return jax.vmap(lambda key: jax.random.split(key, count))(keys)


def random_times(
  keys: Key[Array, ' b'] | Shaped[Array, ' b'], steps: int, count: int
) -> Integer[Array, 'b s']:
  """``count`` steps in 1 ... ``steps`` for every image.

  Each is uniform; those of one image are spread evenly, u + j / count modulo 1.

  Source: Kingma et al. 2021 (arXiv:2107.00630), appendix I, within an image instead of a batch.
  """
  uniform = jax.vmap(jax.random.uniform)(keys)[:, None] + jnp.arange(count) / count
  return 1 + jnp.minimum((uniform % 1 * steps).astype(jnp.int32), steps - 1)
