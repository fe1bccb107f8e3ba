"""A phantom scene: a CT-like crop of lung around one nodule whose truth is known."""

import re
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from multirater_jax.data.errors import DataError
from multirater_jax.data.phantom.anatomy import parenchyma, vessels, wall
from multirater_jax.data.phantom.nodule import Nodule, draw_nodule
from multirater_jax.data.phantom.scanner import SCANNERS, scan
from multirater_jax.data.phantom.shapes import Plane, noise

NODULE, WALL, LUNG, SCANNER = range(4)  # independent random streams of one scene


@dataclass(frozen=True)
class Scene:
  """One image and the nodule that it shows; ``scanner`` indexes ``SCANNERS``."""

  seed: int
  image: UInt8[np.ndarray, 'h w']
  nodule: Nodule
  scanner: int


def scene(seed: int, size: int = 64) -> Scene:
  """The scene number ``seed`` (0 or more) at ``size`` x ``size`` pixels, always the same.

  The field of view is 44.8 mm at every size: a larger image is a finer one, of the same nodule.
  """
  nodule, share, tissue = _nodule_and_wall(seed, size)
  rng = _stream(seed, LUNG)
  hounsfield = parenchyma(rng, size)
  hounsfield = _mix(hounsfield, 0.9 * vessels(rng, size), float(rng.uniform(0, 60)))
  hounsfield = _insert(rng, hounsfield, nodule)
  hounsfield = _mix(hounsfield, share, tissue)
  rng = _stream(seed, SCANNER)
  scanner = int(rng.integers(len(SCANNERS)))
  return Scene(seed, scan(rng, hounsfield, SCANNERS[scanner]), nodule, scanner)


def true_nodule(seed: int, size: int = 64) -> Nodule:
  """``scene(seed, size).nodule`` without the cost of the image."""
  return _nodule_and_wall(seed, size)[0]


def scene_name(seed: int) -> str:
  """The record name of scene ``seed``."""
  return f'scene-{seed:06d}'


def scene_seed(name: str) -> int:
  """The seed of a scene from its record name, so that fresh annotations can be drawn of it."""
  match = re.fullmatch(r'scene-(\d{6,})', name)
  if not match:
    raise DataError(f'Record {name!r} is no phantom scene; its name would be like scene-000123.')
  return int(match[1])


def _stream(seed: int, part: int) -> np.random.Generator:
  return np.random.default_rng((seed, part))


def _nodule_and_wall(seed: int, size: int) -> tuple[Nodule, Plane, Plane]:
  """The nodule ends where the wall begins: no rater outlines the chest wall."""
  nodule = draw_nodule(_stream(seed, NODULE), size)
  share, tissue = wall(_stream(seed, WALL), nodule, size)
  parts = {name: getattr(nodule, name) * (1 - share) for name in ('core', 'halo', 'spicules')}
  return replace(nodule, **parts), share, tissue


def _insert(rng: np.random.Generator, hounsfield: Plane, nodule: Nodule) -> Plane:
  """Halo first, then spicules, then the core, each denser than what it covers."""
  mottle = noise(rng, hounsfield.shape[0], 0.9)
  faint = nodule.kind == 'ground-glass'
  hounsfield = _mix(hounsfield, nodule.halo, nodule.halo_hu + 35 * mottle)
  hounsfield = _mix(hounsfield, 0.85 * nodule.spicules, -150.0)
  return _mix(hounsfield, nodule.core, nodule.core_hu + (45 if faint else 12) * mottle)


def _mix(below: Plane, share: Plane, above: Plane | float) -> Plane:
  return (below + share * (above - below)).astype(np.float32)
