"""Draws docs/figures/phantom.png: what the phantom looks like and how its raters disagree.

python docs/make_phantom_figure.py
"""

import itertools
import os
import pathlib

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np

from multirater_jax.data import phantom

TARGET = pathlib.Path(__file__).parent / 'figures' / 'phantom.png'
EXAMPLES = (  # kind, margin, scanner
  ('solid', 'spiculated', 'standard'),
  ('solid', 'lobulated', 'sharp'),
  ('part-solid', 'lobulated', 'low-dose'),
  ('part-solid', 'spiculated', 'drifting'),
  ('ground-glass', 'smooth', 'standard'),
  ('ground-glass', 'lobulated', 'sharp'),
)
COLORS = ('#D55E00', '#56B4E9', '#F0E442', '#CC79A7')  # Okabe and Ito, safe for color blindness
SIZE = 128  # finer than the 64 of the default set, the same anatomy


def find(kind: str, margin: str, scanner: str) -> phantom.Scene:
  """The first scene of this description that all raters outlined, not too small to see."""
  for seed in itertools.count():
    nodule = phantom.true_nodule(seed)
    if (nodule.kind, nodule.margin) != (kind, margin) or nodule.radius < 6:
      continue
    scene = phantom.scene(seed, SIZE)
    masks, _ = phantom.annotate_all(scene.nodule, seed, phantom.DEFAULT_STYLES)
    if phantom.SCANNERS[scene.scanner].name == scanner and masks.any(axis=(1, 2)).all():
      return scene
  raise AssertionError('seeds never end')


def draw() -> plt.Figure:
  """Columns are scenes; rows the image, the outlines of four raters, the share of votes."""
  figure, axes = plt.subplots(
    3, len(EXAMPLES), figsize=(11, 5.9), layout='constrained', facecolor='white'
  )
  for column, example in zip(axes.T, EXAMPLES, strict=True):
    votes = draw_scene(column, find(*example))
    kind, margin, scanner = example
    column[0].set_title(f'{kind}, {margin}\n{scanner} scanner', fontsize=10)
  for axis, label in zip(axes[:, 0], ('image', 'four raters', 'share of votes'), strict=True):
    axis.set_ylabel(label, fontsize=10)
  bar = figure.colorbar(votes, ax=axes[2, -1], ticks=(0, 0.5, 1), pad=0.03, fraction=0.05)
  bar.ax.tick_params(labelsize=8)
  names = ('1 conservative', '2 rounds off', '3 follows spicules', '4 generous')
  lines = [plt.Line2D([], [], color=color, linewidth=2.5) for color in COLORS]
  figure.legend(lines, names, loc='outside lower center', ncols=4, fontsize=10, frameon=False)
  return figure


def draw_scene(column: np.ndarray, scene: phantom.Scene) -> matplotlib.image.AxesImage:
  """Fills the three axes of one scene and returns the picture of the votes."""
  masks, _ = phantom.annotate_all(scene.nodule, scene.seed, phantom.DEFAULT_STYLES)
  for axis in column:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
  for axis in column[:2]:
    axis.imshow(scene.image, cmap='gray', vmin=0, vmax=255)
  for mask, color in zip(masks, COLORS, strict=True):
    column[1].contour(mask, levels=[0.5], colors=[color], linewidths=1.3)
  return column[2].imshow(masks.mean(0), cmap='cividis', vmin=0, vmax=1)


if __name__ == '__main__':
  TARGET.parent.mkdir(exist_ok=True)
  temporary = TARGET.with_suffix('.tmp.png')
  draw().savefig(temporary, dpi=110)
  os.replace(temporary, TARGET)
