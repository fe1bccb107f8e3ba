"""Normalized cross-correlation of predicted uncertainty with each rater's error map."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax.metrics.calibration import Numeric

EPSILON = 1e-8  # inside the logarithm, as published


class CorrelationCounts(NamedTuple):
  """Moments over each rater's pixels: ``a`` is the uncertainty map, ``b`` the error map."""

  pixels: Float[Numeric, 'b r']
  a: Float[Numeric, 'b r']
  b: Float[Numeric, 'b r']
  aa: Float[Numeric, 'b r']
  bb: Float[Numeric, 'b r']
  ab: Float[Numeric, 'b r']


def count_correlation(
  probs: Float[Array, 'b k s p'],
  classes: Float[Array, 'b k r p'],
  annotated: Float[Array, 'b r'],
  weight: Float[Array, 'b p'],
) -> CorrelationCounts:
  """Moments of the two cross-entropy maps; ``classes`` is one-hot over all classes.

  a = -sum_k mean_s(p_k) mean_s(log p_k),  b_r = -mean_s(log p_{y_r}).
  """
  log = jnp.log(probs + EPSILON).mean(2)
  a = -(probs.mean(2) * log).sum(1)[:, None]
  b = -(classes * log[:, :, None]).sum(1)
  pixels = weight[:, None] * annotated[:, :, None]
  return CorrelationCounts(
    *((pixels * term).sum(-1) for term in (jnp.ones_like(a), a, b, a * a, b * b, a * b))
  )


def ncc(counts: CorrelationCounts) -> Float[Array, 'b']:
  """Mean over raters of the correlation between uncertainty and that rater's error.

  NCC_r = cov(a, b_r) / sqrt(var(a) var(b_r)). 1 is best. 0 where one of the maps is constant: it
  then says nothing about where raters disagree. NaN if nobody drew.

  Source: Baumgartner et al. 2019 (PHiSeg, arXiv:1906.04045), section 3.
  """
  n = jnp.maximum(counts.pixels, 1)
  mean_a, mean_b = counts.a / n, counts.b / n
  var_a, var_b = counts.aa / n - mean_a**2, counts.bb / n - mean_b**2
  # Below this share of the second moment a variance is rounding error.
  varies = (var_a > 1e-5 * counts.aa / n) & (var_b > 1e-5 * counts.bb / n)
  scale = jnp.sqrt(jnp.where(varies, var_a * var_b, 1))
  value = jnp.where(varies, (counts.ab / n - mean_a * mean_b) / scale, 0)
  present = counts.pixels > 0
  total = jnp.where(present, value, 0).sum(-1)
  return jnp.where(present.any(-1), total / jnp.maximum(present.sum(-1), 1), jnp.nan)
