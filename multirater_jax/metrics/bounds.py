"""Two bounds beside every table: raters against each other, and calibrated but incoherent noise.

A third bound, the oracle of a simulation, needs no code: fresh draws of the true process are
samples like any others.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, Shaped

from multirater_jax.metrics.calibration import Numeric
from multirater_jax.metrics.overlap import Counts, count


def rater_counts(
  masks: Shaped[Numeric, 'b r h w'],
  annotated: Bool[Numeric, 'b r'],
  valid: Bool[Numeric, 'b h w'] | None = None,
  *,
  num_classes: int = 2,
) -> Counts:
  """Counts of every rater as the only sample, against the other raters; jit-able.

  One row an image and left-out rater, images first: image i and rater j are row ``i * r + j``,
  which is also how ``add_to_units`` must number them (``rater_units``). Rows of raters that did
  not draw are padding. ``rater_scores`` turns the scores of these rows into the bound.
  """
  b, r, h, w = masks.shape
  own = (jnp.asarray(masks)[..., None] == jnp.arange(num_classes)).astype(jnp.float32)
  others = annotated[:, :, None] & annotated[:, None] & ~jnp.eye(r, dtype=bool)
  return count(
    own.reshape(b * r, 1, h, w, num_classes),
    jnp.repeat(jnp.asarray(masks), r, axis=0),
    others.reshape(b * r, r),
    None if valid is None else jnp.repeat(jnp.asarray(valid), r, axis=0),
  )


def rater_units(unit: np.ndarray, num_raters: int) -> np.ndarray:
  """Row numbers for ``add_to_units`` of ``rater_counts``: each left-out rater is a unit."""
  return (np.asarray(unit)[:, None] * num_raters + np.arange(num_raters)).reshape(-1)


def rater_scores(columns: dict[str, np.ndarray], num_raters: int) -> dict[str, np.ndarray]:
  """The bound ``raters`` a unit: mean over the left-out raters, NaN where nobody can be left out.

  What a perfect human would get. Scores that need several samples are NaN, and a single draw
  scores worse in ``ged`` and ``dice_soft`` than several of the same quality would.
  """
  bound = {}
  for name, values in columns.items():
    rows = values.reshape(-1, num_raters)
    seen = ~np.isnan(rows)
    total, number = np.where(seen, rows, 0).sum(1), seen.sum(1)
    bound[name] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
  return bound


def mean_field(
  rngs: Key[Array, ' b'] | Shaped[Array, 'b ...'],
  masks: Shaped[Numeric, 'b r h w'],
  annotated: Bool[Numeric, 'b r'],
  num_samples: int,
  num_classes: int = 2,
) -> Float[Array, 'b s h w k']:
  """Samples whose pixels are independent draws from the raters' true vote fractions; jit-able.

  Perfectly calibrated and without any shape: what a score gives for marginals alone. One key per
  image. Rows without a rater are background.
  """
  classes = jnp.asarray(masks)[..., None] == jnp.arange(num_classes)
  votes = (classes * annotated[:, :, None, None, None]).sum(1)
  cumulative = jnp.cumsum(votes, -1) / jnp.maximum(annotated.sum(1), 1)[:, None, None, None]

  def draw(rng: Shaped[Array, '...'], cumulative: Float[Array, 'h w k']) -> Float[Array, 's h w k']:
    uniform = jax.random.uniform(rng, (num_samples, *cumulative.shape[:2], 1))
    index = (uniform >= cumulative[..., :-1]).sum(-1)
    return jax.nn.one_hot(index, num_classes)

  cumulative = jnp.where(annotated.any(1)[:, None, None, None], cumulative, 1.0)
  return jax.vmap(draw)(rngs, cumulative)
