"""Terms of the losses, one value per example."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, Key, Shaped

_ACTIVE = 0.02  # nats; a dimension whose KL is below carries nothing
_SMOOTH = 1.0  # pixels; keeps soft Dice and IoU defined, and their gradients tame, on empty masks


def cross_entropy(
  logits: Float[Array, '*b h w k'], mask: Integer[Array, '*b h w']
) -> Float[Array, '*b']:
  """Cross-entropy in nats, mean over pixels."""
  log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
  return -jnp.take_along_axis(log_probs, mask[..., None].astype(jnp.int32), -1).mean((-3, -2, -1))


def soft_dice(
  probs: Float[Array, '*b h w k'], mask: Integer[Array, '*b h w']
) -> Float[Array, '*b']:
  """One minus soft Dice per example, mean over foreground classes.

  1 - (2 sum p y + s) / (sum p + sum y + s),  s = one pixel, so two empty masks cost 0.
  """
  return _soft_dice(probs, jax.nn.one_hot(mask, probs.shape[-1]))


def _soft_dice(probs, truth):
  probs, truth = probs[..., 1:].astype(jnp.float32), truth[..., 1:]
  overlap = (probs * truth).sum((-3, -2))
  total = (probs + truth).sum((-3, -2))
  return 1 - ((2 * overlap + _SMOOTH) / (total + _SMOOTH)).mean(-1)


def segmentation(
  logits: Float[Array, '*b h w k'], mask: Integer[Array, '*b h w']
) -> dict[str, Float[Array, '*b']]:
  """The two terms every method uses to fit one mask, by name."""
  return {
    'cross_entropy': cross_entropy(logits, mask),
    'dice': soft_dice(jax.nn.softmax(logits.astype(jnp.float32)), mask),
  }


def own_masks(
  logits: Float[Array, 'b r h w k'],
  masks: Integer[Array, 'b r h w'],
  annotated: Bool[Array, 'b r'],
) -> dict[str, Float[Array, ' b']]:
  """``segmentation`` of rater r's map against rater r's mask, mean over annotated raters."""
  terms = segmentation(logits, masks)
  return {name: rater_mean(term, annotated) for name, term in terms.items()}


def bound(
  samples: Float[Array, 'b s h w k'],
  masks: Integer[Array, 'b r h w'],
  annotated: Bool[Array, 'b r'],
) -> Float[Array, ' b']:
  """Soft Dice of the samples' hull against the raters' hull, mean of its outer and inner bound.

  Outer: the largest probability of a class over samples against the union of the annotated masks;
  inner: the smallest against their intersection.

  Source: Wu et al. 2024 (arXiv:2403.13417), the bound loss of stage 1.
  """
  truth = jax.nn.one_hot(masks, samples.shape[-1], dtype=bool)
  drawn = annotated[:, :, None, None, None]
  union, shared = (truth & drawn).any(1), (truth | ~drawn).all(1)
  outer = _soft_dice(samples.max(1), union.astype(jnp.float32))
  inner = _soft_dice(samples.min(1), shared.astype(jnp.float32))
  return 0.5 * (outer + inner)


def soft_iou(a: Float[Array, 'b s h w k'], b: Float[Array, 'b r h w k']) -> Float[Array, 'b s r']:
  """Soft intersection over union of every pair of soft masks, mean over foreground classes.

  sum ab / (sum a^2 + sum b^2 - sum ab): the squared denominator makes a map's distance to itself
  0; the product form would put it near 0.5 and so reward blur. Two empty maps have IoU 1.
  """
  a, b = a[..., 1:].astype(jnp.float32), b[..., 1:].astype(jnp.float32)
  overlap = jnp.einsum('bshwk,brhwk->bsrk', a, b)
  area_a, area_b = (a**2).sum((2, 3)), (b**2).sum((2, 3))
  union = area_a[:, :, None] + area_b[:, None] - overlap
  return ((overlap + _SMOOTH) / (union + _SMOOTH)).mean(-1)


def ged_loss(
  samples: Float[Array, 'b s h w k'],
  masks: Integer[Array, 'b r h w'],
  annotated: Bool[Array, 'b r'],
) -> dict[str, Float[Array, ' b']]:
  """Generalized energy distance as a loss, with its two parts by name.

  ged = 2 E d(S, Y) - E d(S, S'),  d = 1 - soft IoU; the second mean runs over distinct samples, so
  that it does not depend on their number. The raters' own part is constant and left out.

  Source: Karimijafarbigloo et al. (arXiv:2605.08210), as told by its public notes; soft IoU ours.
  """
  truth = jax.nn.one_hot(masks, samples.shape[-1])
  cross = rater_mean(1 - soft_iou(samples, truth), annotated[:, None]).mean(1)
  spread = 1 - soft_iou(samples, samples)
  count = samples.shape[1]
  distinct = (spread.sum((1, 2)) - jnp.trace(spread, axis1=1, axis2=2)) / max(count**2 - count, 1)
  return {'ged_loss': 2 * cross - distinct, 'sample_distance': distinct, 'cross_distance': cross}


def consensus(
  samples: Float[Array, 'b s h w k'],
  masks: Integer[Array, 'b r h w'],
  annotated: Bool[Array, 'b r'],
) -> Float[Array, ' b']:
  """Cross-entropy of the samples' mean against the raters' vote fractions, mean over pixels.

  The energy distance rewards spread wherever it lowers the distance to a rater; this term says
  where the samples, taken together, must agree with the votes. Ours.
  """
  votes = jax.nn.one_hot(masks, samples.shape[-1])
  votes = rater_mean(jnp.moveaxis(votes, 1, -1), annotated[:, None, None, None])
  mean = samples.astype(jnp.float32).mean(1)
  return -(votes * jnp.log(jnp.maximum(mean, 1e-6))).sum(-1).mean((1, 2))


def rater_mean(values: Float[Array, '*b r'], annotated: Bool[Array, '*#b r']) -> Float[Array, '*b']:
  """Mean over the raters that annotated; 0 where none did."""
  weights = annotated.astype(values.dtype)
  return (values * weights).sum(-1) / jnp.maximum(weights.sum(-1), 1)


def kl_gaussian(
  mean_q: Float[Array, 'b z'],
  log_sigma_q: Float[Array, 'b z'],
  mean_p: Float[Array, 'b z'],
  log_sigma_p: Float[Array, 'b z'],
) -> Float[Array, 'b z']:
  """KL(q || p) of two diagonal Gaussians in nats, per latent dimension, in float32."""
  ratio = jnp.exp(2 * (log_sigma_q - log_sigma_p))
  shift = ((mean_q - mean_p) * jnp.exp(-log_sigma_p)) ** 2
  return 0.5 * (ratio + shift - 1) + log_sigma_p - log_sigma_q


def kl_standard(
  mean: Float[Array, '*b z'], log_sigma: Float[Array, '*b z']
) -> Float[Array, '*b z']:
  """KL(N(mean, sigma^2) || N(0, 1)) in nats, per dimension."""
  return 0.5 * (jnp.exp(2 * log_sigma) + mean**2 - 1) - log_sigma


def kl_dirichlet(alpha: Float[Array, '*b d']) -> Float[Array, '*b']:
  """KL(Dir(alpha) || Dir(1)) in nats."""
  total, dim = alpha.sum(-1), alpha.shape[-1]
  digamma, gammaln = jax.scipy.special.digamma, jax.scipy.special.gammaln
  ratio = gammaln(total) - gammaln(alpha).sum(-1) - gammaln(float(dim))
  return ratio + ((alpha - 1) * (digamma(alpha) - digamma(total)[..., None])).sum(-1)


def kl_terms(kl: Float[Array, 'b z']) -> dict[str, Float[Array, ' b']]:
  """What is logged of a KL divergence: its sum, and how many latent dimensions carry anything.

  ``active_dims`` counts those above 0.02 nats; near 0 the posterior has collapsed onto the prior.
  """
  return {'kl': kl.sum(-1), 'active_dims': (kl > _ACTIVE).sum(-1).astype(jnp.float32)}


def choose_rater(
  keys: Key[Array, ' b'] | Shaped[Array, ' b'], annotated: Bool[Array, 'b r']
) -> Integer[Array, ' b']:
  """Draws one annotated rater per image, uniformly; 0 for a padding row."""
  logits = jnp.where(annotated, 0.0, -1e9)
  return jax.vmap(jax.random.categorical)(keys, logits)


def masks_of(
  masks: Integer[Array, 'b r h w'], rater: Integer[Array, ' b']
) -> Integer[Array, 'b h w']:
  """The mask of one rater per image."""
  return jnp.take_along_axis(masks, rater[:, None, None, None], axis=1)[:, 0]


def ramp(step: Integer[Array, ''] | Float[Array, ''], steps: int) -> Float[Array, '']:
  """Rises linearly from 0 to 1 over the first ``steps`` steps; always 1 where ``steps`` is 0."""
  return jnp.clip(step / max(steps, 1), 0.0, 1.0) if steps else jnp.ones(())
