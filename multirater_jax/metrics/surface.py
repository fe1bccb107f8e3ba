"""Distances between mask surfaces, exact, on the host (SciPy Euclidean distance transforms).

The surface of a mask is its pixels with a neighbor (sharing a face) outside the mask; beyond the
image is outside. Distances run between pixel centers, in mm when the spacing is known, else in
pixels. Conventions for empty masks: both empty 0 (``nsd`` 1), one empty the diagonal of the image
(``nsd`` 0), so that every case has a finite score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import ndimage

TOLERANCE = 1.0  # of ``nsd``, in mm (pixels without spacing)

Mask = Bool[np.ndarray, '...']
Spacing = Sequence[float | int] | None


class SurfaceScores(NamedTuple):
  """Three scores of a pair of masks, or means of them."""

  hd95: float
  assd: float
  nsd: float


def surface_distances(
  a: Mask, b: Mask, spacing: Spacing = None
) -> tuple[Float[np.ndarray, ' p'], Float[np.ndarray, ' q']]:
  """Distance of every surface pixel of one mask to the surface of the other, both ways.

  Both masks must be non-empty.
  """
  box = ndimage.find_objects((a | b).astype(np.uint8))[0]
  # Surface pixels lie in the box of both masks; one pixel more would only be background.
  a, b = (_surface(mask[box]) for mask in (a, b))
  return _distance_to(b, spacing)[a], _distance_to(a, spacing)[b]


def surface_scores(
  a: Mask, b: Mask, spacing: Spacing = None, *, tolerance: float = TOLERANCE
) -> SurfaceScores:
  """HD95, ASSD and normalized surface Dice of two masks of the same shape.

  HD95: the larger of the two directed 95th percentiles. ASSD: mean over all surface pixels of
  both. NSD: share of all surface pixels of both within ``tolerance`` of the other surface.

  Source: Maier-Hein et al. 2024 (Metrics Reloaded); Heimann et al. 2009 (ASSD); Nikolov et al.
  2018 (arXiv:1809.04430, NSD).

  Raises:
    ValueError: shapes or spacing do not match.
  """
  _check(a, b, spacing)
  if not a.any() and not b.any():
    return SurfaceScores(0.0, 0.0, 1.0)
  if not a.any() or not b.any():
    size = np.array(a.shape) - 1
    diagonal = float(np.linalg.norm(size * (1.0 if spacing is None else np.asarray(spacing))))
    return SurfaceScores(diagonal, diagonal, 0.0)
  there, back = surface_distances(a, b, spacing)
  every = np.concatenate([there, back])
  return SurfaceScores(
    hd95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
    assd=float(every.mean()),
    nsd=float((every <= tolerance).mean()),
  )


def unit_surface_scores(
  outputs: Integer[np.ndarray, '#r *n'],
  masks: Integer[np.ndarray, ' r *n'],
  annotated: Bool[np.ndarray, ' r'],
  spacing: Spacing = None,
  *,
  num_classes: int = 2,
) -> SurfaceScores:
  """Mean over annotated raters of output against mask, mean over foreground classes.

  ``outputs`` hold class numbers: one consensus mask for all raters, or one per rater, which is
  paired with its own rater. NaN if nobody drew.
  """
  outputs = np.broadcast_to(outputs, masks.shape)
  pairs = [
    surface_scores(outputs[r] == k, masks[r] == k, spacing)
    for r in np.flatnonzero(annotated)
    for k in range(1, num_classes)
  ]
  if not pairs:
    return SurfaceScores(np.nan, np.nan, np.nan)
  return SurfaceScores(*np.mean(pairs, axis=0).tolist())


def _check(a: Mask, b: Mask, spacing: Spacing) -> None:
  if a.shape != b.shape:
    raise ValueError(f'masks have shapes {a.shape} and {b.shape}; surfaces need the same grid')
  if spacing is None:
    return
  if len(spacing) != a.ndim or not (np.isfinite(spacing).all() and np.min(spacing) > 0):
    raise ValueError(
      f'spacing is {tuple(spacing)}; give {a.ndim} positive numbers in mm, or None if unknown'
    )


def _surface(mask: Mask) -> Mask:
  return mask & ~ndimage.binary_erosion(mask)


def _distance_to(surface: Mask, spacing: Spacing) -> Float[np.ndarray, '...']:
  return ndimage.distance_transform_edt(~surface, sampling=spacing)
