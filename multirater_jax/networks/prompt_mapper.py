"""From a prompt to a latent code: a query of a bank of prior samples, the same for all raters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.networks.latent_unet import LatentUNet
from multirater_jax.networks.projection_heads import mix_bank

PROJECTIONS = ('text', 'code', 'hidden', 'region')


def unit(x: Float[Array, '*b d']) -> Float[Array, '*b d']:
  """Vectors scaled to length 1; zero stays zero."""
  return x * jax.lax.rsqrt(jnp.maximum((x**2).sum(-1, keepdims=True), 1e-12))


class PromptMapper(nn.Module):
  """Query of a prompt, a learned prompt a rater, and the spaces where prompt and picture meet.

  Source: the outline of arXiv:2511.08046; two layers, all widths and the learned prompts are ours.
  """

  num_raters: int
  latent_dim: int
  text_dim: int
  width: int = 128

  def setup(self):
    """Names the layers; all of them compute in float32, they are small."""
    shape = (self.num_raters, self.text_dim)
    self.rater_names = self.param('rater_names', nn.initializers.normal(self.text_dim**-0.5), shape)
    self.hidden = nn.Dense(self.width)
    self.query = nn.Dense(self.latent_dim)
    self.projections = {name: nn.Dense(self.width) for name in PROJECTIONS}

  def names(self) -> Float[Array, 'r d']:
    """The learned prompt of every rater."""
    return self.rater_names

  def queries(self, prompts: Float[Array, 'b r d']) -> Float[Array, 'b r z']:
    """What each prompt asks of a bank; only the direction of a prompt matters."""
    x = jnp.sqrt(self.text_dim) * unit(prompts)  # numbers of size 1, as layers expect
    return self.query(nn.relu(self.hidden(x)))

  def project(self, kind: str, vectors: Float[Array, 'b r c']) -> Float[Array, 'b r e']:
    """Vectors of a kind in ``PROJECTIONS``, in the space all kinds share, scaled to length 1."""
    return unit(self.projections[kind](vectors))


class PromptUNet(nn.Module):
  """``base`` and one ``PromptMapper`` on top of it."""

  base: LatentUNet
  num_raters: int
  text_dim: int

  def setup(self):
    """Names the parts."""
    self.prompts = PromptMapper(self.num_raters, self.base.latent_dim, self.text_dim)

  def decode_hidden(
    self, features: Float[Array, 'b h w c'], codes: Float[Array, 'b s z']
  ) -> tuple[Float[Array, 'b s e'], Float[Array, 'b s h w k']]:
    """The head's last hidden layer, mean over space, and the logits of every code."""
    head = self.base.head
    x = head.last_hidden(features, codes)
    return x.astype(jnp.float32).mean((2, 3)), head.logits(x).astype(jnp.float32)

  def names(self) -> Float[Array, 'r d']:
    """The learned prompt of every rater."""
    return self.prompts.names()

  def prompt_codes(
    self, bank: Float[Array, 'b s z'], prompts: Float[Array, 'b r d']
  ) -> Float[Array, 'b r z']:
    """The bank as each prompt mixes it: softmax(q Z^T / sqrt(z)) Z."""
    return mix_bank(self.prompts.queries(prompts) / jnp.sqrt(self.base.latent_dim), bank)

  def project(self, kind: str, vectors: Float[Array, 'b r c']) -> Float[Array, 'b r e']:
    """``PromptMapper.project``."""
    return self.prompts.project(kind, vectors)

  def __call__(self, image: Float[Array, 'b h w c'], truth: Float[Array, 'b h w t']) -> None:
    """Runs every part once, so that ``init`` creates every parameter."""
    bank = self.base.prior(image).mean[:, None] + self.base.posterior(image, truth).mean[:, None]
    features = self.base.features(image).full
    names = jnp.broadcast_to(self.names(), (image.shape[0], self.num_raters, self.text_dim))
    codes = self.prompt_codes(bank, names)
    hidden, _ = self.decode_hidden(features, codes)
    region = features.astype(jnp.float32).mean((1, 2))[:, None]
    for kind, vectors in zip(PROJECTIONS, (names, codes, hidden, region), strict=True):
      self.project(kind, vectors)
