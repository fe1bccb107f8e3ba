"""Normalized cross-correlation of predicted uncertainty with each rater's error map."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from multirater_jax.metrics.calibration import Numeric

EPSILON = 1e-8  # inside the logarithm, as published
BLOCKS = 64
FLAT = 1e-6


class CorrelationCounts(NamedTuple):
  """Moments over each rater's pixels: ``a`` is the uncertainty map, ``b`` the error map.

  In ``BLOCKS`` blocks of pixels, added on the host: moments cancel in a variance, so rounding must
  not grow with the image.
  """

  pixels: Float[Numeric, 'b r n']
  a: Float[Numeric, 'b r n']
  b: Float[Numeric, 'b r n']
  aa: Float[Numeric, 'b r n']
  bb: Float[Numeric, 'b r n']
  ab: Float[Numeric, 'b r n']


def count_correlation(
  planes: list[Float[Array, 'b s p']],
  classes: Float[Array, 'b k r p'],
  annotated: Float[Array, 'b r'],
  weight: Float[Array, 'b p'],
) -> CorrelationCounts:
  """Moments of the two cross-entropy maps; ``classes`` is one-hot over all classes.

  a = -sum_k mean_s(p_k) mean_s(log p_k),  b_r = -mean_s(log p_{y_r}).
  """
  log = jnp.stack([jnp.log(plane + EPSILON).mean(1) for plane in planes], 1)
  a = -(jnp.stack([plane.mean(1) for plane in planes], 1) * log).sum(1)[:, None]
  b = -(classes * log[:, :, None]).sum(1)
  pixels = weight[:, None] * annotated[:, :, None]
  return CorrelationCounts(
    *(_sum(pixels * term) for term in (jnp.ones_like(a), a, b, a * a, b * b, a * b))
  )


def _sum(values: Float[Array, 'b r p']) -> Float[Array, 'b r n']:
  padded = jnp.pad(values, [(0, 0), (0, 0), (0, -values.shape[2] % BLOCKS)])
  return padded.reshape(*values.shape[:2], BLOCKS, -1).sum(-1)


def ncc(counts: CorrelationCounts) -> Float[np.ndarray, ' b']:
  """Mean over raters of the correlation between uncertainty and that rater's error.

  NCC_r = cov(a, b_r) / sqrt(var(a) var(b_r)). 1 is best. 0 where one of the maps is constant: it
  then says nothing about where raters disagree. NaN if nobody drew. Host, float64.

  Source: Baumgartner et al. 2019 (PHiSeg, arXiv:1906.04045), section 3.
  """
  pixels, *moments = (np.asarray(leaf, np.float64).sum(-1) for leaf in counts)
  n = np.maximum(pixels, 1)
  a, b, aa, bb, ab = (moment / n for moment in moments)
  var_a, var_b = aa - a**2, bb - b**2
  # Below this share of the second moment a variance is rounding error of float32 sums.
  varies = (var_a > FLAT * aa) & (var_b > FLAT * bb)
  value = np.where(varies, (ab - a * b) / np.sqrt(np.where(varies, var_a * var_b, 1)), 0)
  present = pixels > 0
  total = np.where(present, np.clip(value, -1, 1), 0).sum(-1)
  return np.where(present.any(-1), total / np.maximum(present.sum(-1), 1), np.nan)
