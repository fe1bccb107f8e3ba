"""Geometry and random fields on the pixel grid of a phantom; lengths in millimeters."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

FIELD_OF_VIEW = 44.8  # mm, at every image size: 0.7 mm a pixel at 64 x 64, as in thoracic CT

Plane = Float32[np.ndarray, 'h w']


def pixel_spacing(size: int) -> float:
  """Side of a pixel in mm."""
  return FIELD_OF_VIEW / size


@lru_cache(maxsize=8)
def pixel_grid(size: int) -> tuple[Plane, Plane]:
  """Row and column coordinate of every pixel center in mm, 0 in the middle of the image."""
  axis = ((np.arange(size) + 0.5) * pixel_spacing(size) - FIELD_OF_VIEW / 2).astype(np.float32)
  rows, columns = np.meshgrid(axis, axis, indexing='ij')
  rows.flags.writeable = columns.flags.writeable = False  # shared by all callers
  return rows, columns


def soft_step(distance: Plane, width: float) -> Plane:
  """Logistic edge ``1 / (1 + exp(-distance / width))``: 0.5 where the distance is 0."""
  return 1 / (1 + np.exp(np.clip(-distance / width, -30, 30)))


def tube_distance(
  points: Float32[np.ndarray, 'p 2'], radii: Float32[np.ndarray, ' p'], size: int
) -> Plane:
  """Signed distance to a union of discs (positive inside), a cheap stand-in for curved tubes."""
  rows, columns = pixel_grid(size)
  down = (rows[:, :1, None] - points[:, 0]) ** 2  # [h 1 p]
  across = (columns[:1, :, None] - points[:, 1]) ** 2  # [1 w p]
  block = max(1, 2**20 // (size * len(points)))  # rows at a time, so that memory stays small
  parts = [(radii - np.sqrt(down[i : i + block] + across)).max(-1) for i in range(0, size, block)]
  return np.concatenate(parts)


def walk(
  rng: np.random.Generator, start: np.ndarray, angle: float, length: float, *, bend: float = 0.1
) -> Float32[np.ndarray, 'p 2']:
  """Points 0.8 mm apart on a curve that leaves ``start``; ``bend`` is radians a step."""
  step = 0.8
  count = max(2, round(length / step))
  angles = angle + np.cumsum(bend * rng.standard_normal(count))
  offsets = np.cumsum(step * np.stack([np.sin(angles), np.cos(angles)], -1), axis=0)
  return (start + offsets).astype(np.float32)


def noise(rng: np.random.Generator, size: int, grain: float | tuple[float, float]) -> Plane:
  """Gaussian noise smoothed over ``grain`` mm (row, column), brought back to unit deviation."""
  sigma = np.asarray(grain, np.float32) / pixel_spacing(size)
  plane = rng.standard_normal((size, size), np.float32)
  plane = ndimage.gaussian_filter(plane, sigma, mode='wrap')
  return plane / (plane.std() + 1e-6)


@lru_cache(maxsize=8)
def _bumps(size: int, length: float) -> Float32[np.ndarray, 'h q']:
  centers = np.arange(-FIELD_OF_VIEW / 2 - length, FIELD_OF_VIEW / 2 + 1.01 * length, length)
  basis = np.exp(-((pixel_grid(size)[1][0][:, None] - centers) ** 2) / (2 * length**2))
  return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)


def smooth_fields(
  rng: np.random.Generator, count: int, size: int, length: float
) -> Float32[np.ndarray, 'n h w']:
  """Random fields of unit variance that vary over ``length`` mm: Gaussian bumps, random weights."""
  basis = _bumps(size, length)
  weights = rng.standard_normal((count, basis.shape[1], basis.shape[1]), np.float32)
  return basis @ weights @ basis.T
