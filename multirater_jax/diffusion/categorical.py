"""Categorical diffusion of masks: noise replaces a pixel's class by a uniform one.

Distributions stand in the last axis. ``abar_t`` and ``abar_s`` are the shares of the mask left at
steps t and s < t; alpha = abar_t / abar_s is what one jump from s to t leaves, however many steps
lie between, so every formula here holds for any subset of the steps.

Source: Hoogeboom et al. 2021 (arXiv:2102.05379) and Austin et al. 2021 (arXiv:2107.03006).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.diffusion.rows import Keys, Level, spread

Probs = Float[Array, 'n *i k']
_TINY = 1e-12  # smallest probability in a logarithm


def marginal(x: Probs, keep: Level) -> Probs:
  """keep x + (1 - keep) / k: q(x_t | x_0) for keep = abar_t, q(x_t | x_s) for alpha."""
  keep = spread(keep, x)
  return keep * x + (1 - keep) / x.shape[-1]


def draw(keys: Keys, probs: Probs) -> Probs:
  """One-hot draws, one uniform number a pixel, by the inverse of the distribution function."""
  shape = probs.shape[1:-1]
  uniform = jax.vmap(lambda key: jax.random.uniform(key, shape, probs.dtype))(keys)
  passed = uniform[..., None] >= jnp.cumsum(probs, axis=-1)[..., :-1]
  return jax.nn.one_hot(passed.sum(-1), probs.shape[-1], dtype=probs.dtype)


def posterior(x_t: Probs, x_0: Probs, abar_t: Level, abar_s: Level) -> Probs:
  """q(x_s | x_t, x_0), proportional to q(x_t | x_s) q(x_s | x_0), with ``x_0`` plugged in.

  Bayes' rule where ``x_0`` is one mask, or what was known of it before ``x_t`` was seen.
  """
  joint = marginal(x_t, abar_t / abar_s) * marginal(x_0, abar_s)
  return joint / joint.sum(-1, keepdims=True)


def marginal_posterior(x_t: Probs, x_0: Probs, abar_t: Level, abar_s: Level) -> Probs:
  """sum_c x_0[c] q(x_s | x_t, c): the posterior averaged over masks drawn from ``x_0``.

  The rule of sampling, where ``x_0`` is what is believed of the mask after ``x_t`` was seen. It is
  ``x_0`` itself at s = 0. With m = alpha x_t + (1 - alpha) / k and u = (1 - abar_s) / k,

    m[j] (abar_s w[j] + u sum_c w[c]),   w[c] = x_0[c] / (abar_s m[c] + u).
  """
  step = marginal(x_t, abar_t / abar_s)
  keep = spread(abar_s, x_t)
  uniform = (1 - keep) / x_t.shape[-1]
  weights = x_0 / (keep * step + uniform)
  return step * (keep * weights + uniform * weights.sum(-1, keepdims=True))


def add_evidence(logits: Probs, x_t: Probs, abar_t: Level) -> Probs:
  """Logits of the mask given ``x_t`` and all else, from those given all but the pixel itself.

  log p(c | rest) + log q(x_t | c): a network is spared to learn that ``x_t`` is nearly the mask
  when little noise is left. Ours.
  """
  return logits + jnp.log(marginal(x_t, abar_t))


def kl(p: Probs, q: Probs) -> Float[Array, ' n *i']:
  """KL(p || q) in nats."""
  log_ratio = jnp.log(jnp.maximum(p, _TINY)) - jnp.log(jnp.maximum(q, _TINY))
  return (p * log_ratio).sum(-1)


def loss_terms(
  logits: Float[Array, 'n h w k'],
  x_t: Float[Array, 'n h w k'],
  x_0: Float[Array, 'n h w k'],
  *,
  abar_t: Level,
  abar_s: Level,
) -> dict[str, Float[Array, ' n']]:
  """What a prediction of the mask costs, by name; nats, mean over pixels.

  ``kl``: KL(sum_c x_0[c] q(x_s | x_t, c) || sum_c p[c] q(x_s | x_t, c)), the term of the
  variational bound (of one step: T times it is an estimate of the sum).
  ``cross_entropy``: of p with ``x_0``. ``x_0`` may be soft; p = softmax(logits).
  """
  guess = marginal_posterior(x_t, jax.nn.softmax(logits), abar_t, abar_s)
  truth = marginal_posterior(x_t, x_0, abar_t, abar_s)
  crossed = -(x_0 * jax.nn.log_softmax(logits)).sum(-1)
  return {'kl': kl(truth, guess).mean((1, 2)), 'cross_entropy': crossed.mean((1, 2))}
