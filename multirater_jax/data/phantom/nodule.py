"""The truth of a phantom: one nodule, its core, ground-glass halo and spicules kept apart."""

from dataclasses import dataclass

import numpy as np

from multirater_jax.data.phantom.shapes import Plane, pixel_grid, soft_step, tube_distance, walk

KINDS = ('solid', 'part-solid', 'ground-glass')
KIND_ODDS = (0.5, 0.25, 0.25)
MARGINS = ('smooth', 'lobulated', 'spiculated')
LOBES = {'smooth': 0.03, 'lobulated': 0.1, 'spiculated': 0.06}
MARGIN_ODDS = {  # by kind, in the order of MARGINS
  'solid': (0.3, 0.3, 0.4),
  'part-solid': (0.2, 0.4, 0.4),
  'ground-glass': (0.5, 0.4, 0.1),
}
# Ranges of uniform draws by kind. core: core radius / radius of the whole nodule with its halo;
# edge and rim: width of the core's and of the halo's logistic border in mm; the last two in
# Hounsfield units.
SOLID = {'core': (0.82, 0.95), 'edge': (0.35, 0.8), 'rim': (0.5, 0.9)}
PART_SOLID = {'core': (0.5, 0.75), 'edge': (0.4, 0.8), 'rim': (0.5, 1.0)}
GROUND_GLASS = {'core': (0.75, 0.88), 'edge': (0.7, 1.2), 'rim': (0.8, 1.3)}
SHAPE = dict(zip(KINDS, (SOLID, PART_SOLID, GROUND_GLASS), strict=True))
CORE_HU = dict(zip(KINDS, ((-60, 90), (-120, 40), (-620, -460)), strict=True))
HALO_HU = dict(zip(KINDS, ((-680, -560), (-660, -520), (-740, -660)), strict=True))


@dataclass(frozen=True)
class Nodule:
  """Membership maps in [0, 1]; 0.5 is the border of each part, the halo lies under the core too.

  ``center`` (row, column) and ``radius`` in mm. In a pure ground-glass nodule the core is the
  ground glass itself and the halo its faint rim.
  """

  kind: str
  margin: str
  center: tuple[float, float]
  radius: float
  core: Plane
  halo: Plane
  spicules: Plane
  core_hu: float
  halo_hu: float


def draw_nodule(rng: np.random.Generator, size: int) -> Nodule:
  """A nodule near the middle of the image; radius log-normal, median 5.5 mm, within [3, 12]."""
  kind = str(rng.choice(KINDS, p=KIND_ODDS))
  margin = str(rng.choice(MARGINS, p=MARGIN_ODDS[kind]))
  radius = float(np.clip(5.5 * np.exp(0.35 * rng.standard_normal()), 3, 12))
  center = rng.normal(0, 2.5, 2).clip(-6, 6)
  draw = {name: float(rng.uniform(*bounds)) for name, bounds in SHAPE[kind].items()}
  shift = center + rng.normal(0, 0.12, 2) * radius * (1 - draw['core'])
  lobes = LOBES[margin]
  border, other = _outline(rng, lobes), _outline(rng, lobes)
  haze = border if kind == 'solid' else other  # around a solid core the haze follows its shape
  return Nodule(
    kind=kind,
    margin=margin,
    center=(float(center[0]), float(center[1])),
    radius=radius,
    core=soft_step(_inside(border, shift, draw['core'] * radius, size), draw['edge']),
    halo=soft_step(_inside(haze, center, radius, size), draw['rim']),
    spicules=_spicules(rng, shift, draw['core'] * radius, size, present=margin == 'spiculated'),
    core_hu=float(rng.uniform(*CORE_HU[kind])),
    halo_hu=float(rng.uniform(*HALO_HU[kind])),
  )


def _outline(rng: np.random.Generator, lobes: float) -> np.ndarray:
  """Complex Fourier coefficients of the relative radius at 2 to 7 cycles a turn."""
  strength = np.array([0.09, 0.04 + lobes / 3, lobes, lobes, lobes / 2, lobes / 3])
  phase = rng.uniform(0, 2 * np.pi, 6)
  return strength * rng.uniform(0.3, 1, 6) * np.exp(1j * phase)


def _inside(outline: np.ndarray, center: np.ndarray, radius: float, size: int) -> Plane:
  """Distance to a star-shaped border along the ray from the center, positive inside."""
  rows, columns = pixel_grid(size)
  offset = (columns - center[1]) + 1j * (rows - center[0])
  distance = np.abs(offset)
  turn = offset / np.maximum(distance, 1e-6)
  wobble = np.polyval(np.append(outline[::-1], [0, 0]), turn).real  # powers 2 to 7
  return (radius * (1 + wobble) - distance).astype(np.float32)


def _spicules(
  rng: np.random.Generator, center: np.ndarray, radius: float, size: int, *, present: bool
) -> Plane:
  """Thin, tapering rays from inside the core to 2 to 8 mm beyond its border."""
  if not present:
    return np.zeros((size, size), np.float32)
  count = rng.integers(5, 11)
  angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.6, 0.6, count)) / count
  rays, widths = [], []
  for angle in angles:
    start = center + 0.7 * radius * np.array([np.sin(angle), np.cos(angle)])
    reach = 2 + 6 * rng.beta(1, 2.5)
    ray = walk(rng, start, angle, 0.3 * radius + reach, bend=0.12)
    rays.append(ray)
    widths.append(np.linspace(rng.uniform(0.55, 1.1), 0.25, len(ray)))
  return soft_step(
    tube_distance(np.concatenate(rays), np.concatenate(widths).astype(np.float32), size), 0.2
  )
