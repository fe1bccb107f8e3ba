"""The phantom: CT-like nodules whose truth and whose raters are known, deterministic from integers.

``scene`` draws an image and its true nodule, ``annotate`` lets a ``RaterStyle`` outline it;
``fresh_samples`` and ``fresh_personal`` draw any number of new annotations of recorded scenes.
"""

from multirater_jax.data.phantom.nodule import KINDS, Nodule
from multirater_jax.data.phantom.raters import (
  DEFAULT_STYLES,
  RaterStyle,
  annotate,
  annotate_all,
  fresh_personal,
  fresh_samples,
  make_styles,
)
from multirater_jax.data.phantom.scanner import SCANNERS, Scanner
from multirater_jax.data.phantom.scene import Scene, scene, scene_name, scene_seed, true_nodule

__all__ = [
  'DEFAULT_STYLES',
  'KINDS',
  'SCANNERS',
  'Nodule',
  'RaterStyle',
  'Scanner',
  'Scene',
  'annotate',
  'annotate_all',
  'fresh_personal',
  'fresh_samples',
  'make_styles',
  'scene',
  'scene_name',
  'scene_seed',
  'true_nodule',
]
