"""What surrounds the nodule: lung parenchyma, vessels, chest wall or mediastinum, in Hounsfield."""

import numpy as np

from multirater_jax.data.phantom.nodule import Nodule
from multirater_jax.data.phantom.shapes import (
  FIELD_OF_VIEW,
  Plane,
  noise,
  pixel_grid,
  soft_step,
  tube_distance,
  walk,
)

WALL_ODDS = 0.4  # share of images with a wall
MEDIASTINUM_ODDS = 0.25  # share of walls that bulge into the lung instead of enclosing it
ATTACHED_ODDS = 0.35  # share of walls that the nodule touches


def parenchyma(rng: np.random.Generator, size: int) -> Plane:
  """Air and fine septa: about -860, darker and brighter by a slow trend and a fine texture."""
  level = rng.normal(-860, 25)
  fine = np.abs(noise(rng, size, 0.55)) - 0.8
  return (level + 20 * noise(rng, size, 7.0) + 32 * fine).astype(np.float32)


def vessels(rng: np.random.Generator, size: int) -> Plane:
  """Share of vessel in every pixel: one to three branching trees, dots where others cross.

  A slow field fades them in and out, as where a vessel leaves the slice.
  """
  points, radii = [], []
  for _ in range(rng.integers(1, 4)):
    _grow(rng, points, radii)
  count = rng.integers(6, 20)
  points.append(rng.uniform(-0.5, 0.5, (count, 2)) * FIELD_OF_VIEW)
  radii.append(rng.uniform(0.15, 0.75, count))
  everything = np.concatenate(points).astype(np.float32)
  widths = np.concatenate(radii).astype(np.float32)
  in_slice = np.clip(0.65 + 0.4 * noise(rng, size, 4.0), 0, 1)
  return in_slice * soft_step(tube_distance(everything, widths, size), 0.22)


def _grow(rng: np.random.Generator, points: list, radii: list) -> None:
  """A stem from outside the image, with branches and twigs thinner than what bears them."""
  side = rng.uniform(0, 2 * np.pi)
  start = 0.6 * FIELD_OF_VIEW * np.array([np.sin(side), np.cos(side)])
  angle = side + np.pi + rng.normal(0, 0.5)
  branches = [(start, angle, rng.uniform(10, 28), 0.4 + 0.25 * rng.exponential())]
  for depth in (2, 1, 0):
    bearers, branches = branches, []
    for origin, direction, length, radius in bearers:
      curve = walk(rng, origin, direction, length)
      points.append(curve)
      radii.append(np.linspace(radius, 0.45 * radius, len(curve)))
      for _ in range(int(rng.integers(0, 1 + depth))):
        fork = curve[rng.integers(len(curve) // 3, len(curve))]
        turn = rng.choice((-1, 1)) * rng.uniform(0.5, 1.1)
        branches.append((fork, direction + turn, rng.uniform(0.35, 0.7) * length, 0.7 * radius))


def wall(rng: np.random.Generator, nodule: Nodule, size: int) -> tuple[Plane, Plane]:
  """Share of wall in every pixel, 0 where there is none, and the wall's Hounsfield values."""
  if rng.random() >= WALL_ODDS:
    return np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
  mediastinum = rng.random() < MEDIASTINUM_ODDS
  attached = rng.random() < ATTACHED_ODDS
  gap = rng.uniform(0.55, 0.95) * nodule.radius if attached else nodule.radius + rng.uniform(2, 9)
  bend = -rng.uniform(18, 40) if mediastinum else rng.uniform(45, 120)
  depth, across = _surface(rng, nodule.center, gap, bend, size)
  tissue = 35 + 12 * noise(rng, size, 0.8) + 22 * noise(rng, size, 2.2)
  return soft_step(depth, 0.3), tissue if mediastinum else _chest_wall(rng, tissue, depth, across)


def _surface(
  rng: np.random.Generator, center: tuple[float, float], gap: float, bend: float, size: int
) -> tuple[Plane, Plane]:
  """Depth in a wall (positive in it) and position along it, mm, in a random direction.

  The surface is an uneven circle of radius ``abs(bend)``, ``gap`` mm from the center of the nodule:
  around the lung, as the chest wall, or with ``bend`` negative beside it, as the mediastinum.
  """
  angle = rng.uniform(0, 2 * np.pi)
  down, right = float(np.sin(angle)), float(np.cos(angle))
  rows, columns = pixel_grid(size)
  rows = rows - (center[0] + (gap - bend) * down)
  columns = columns - (center[1] + (gap - bend) * right)
  distance = np.maximum(np.hypot(rows, columns), 1e-6)
  depth = float(np.sign(bend)) * distance - bend + rng.uniform(0.1, 0.6) * noise(rng, size, 5.0)
  return depth, (down * columns - right * rows) * bend / distance


def _chest_wall(rng: np.random.Generator, tissue: Plane, depth: Plane, across: Plane) -> Plane:
  """Muscle, a sheet of fat beneath and up to two ribs: cortical shell around spongy bone."""
  fat = soft_step(depth - float(rng.uniform(9, 18)), 0.8)
  tissue = tissue + fat * (-95 - tissue)
  place = rng.uniform(-16, 4)
  for _ in range(rng.integers(0, 3)):
    length, height = rng.uniform(5, 12), rng.uniform(2.4, 3.8)
    ellipse = np.hypot((across - place) / length, (depth - height - rng.uniform(1.2, 3)) / height)
    inside = (1 - ellipse) * height  # mm, near enough for a shell
    tissue = tissue + soft_step(inside, 0.25) * (rng.uniform(550, 850) - tissue)
    tissue = tissue + soft_step(inside - 1.1, 0.35) * (rng.uniform(100, 220) - tissue)
    place += 2 * length + rng.uniform(3, 8)
  return tissue
