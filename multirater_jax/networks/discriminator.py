"""A judge of maps, patch by patch."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.convolution import Conv
from multirater_jax.networks.unet import average_pool, space_to_depth


class PatchDiscriminator(nn.Module):
  """One score a patch of [image, map]; the map's share of true ones is what it is trained on.

  Source: Isola et al. 2017 (arXiv:1611.07004), section 3.2; group norm and the sizes are ours.
  """

  widths: tuple[int, ...] = (16, 32, 64)
  patch: int = 2
  dtype: Any = None

  @nn.compact
  def __call__(  # noqa: D102
    self, image: Float[Array, 'b h w c'], probs: Float[Array, 'b h w k']
  ) -> Float[Array, 'b i j']:
    x = jnp.concatenate([2 * image - 1, 2 * probs - 1], axis=-1)
    x = space_to_depth(x.astype(self.dtype or x.dtype), self.patch)
    for level, width in enumerate(self.widths):
      x = average_pool(x) if level else x
      x = Conv(width, (3, 3), dtype=self.dtype)(x)
      x = nn.GroupNorm(num_groups=None, group_size=8, dtype=self.dtype)(x) if level else x
      x = nn.leaky_relu(x, 0.2)
    return nn.Dense(1, dtype=self.dtype)(x)[..., 0].astype(jnp.float32)
