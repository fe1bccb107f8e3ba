"""A sheet of pictures of a data set: images with the contours of all raters."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirater_jax.report import page, panels, tiles
from multirater_jax.report.figures import png, wrap
from multirater_jax.report.style import CHART

COLUMNS = 4
LETTERS = 40  # of a name
LEAST, MOST = 48, 160  # pixels of a side of the part that is shown of an image


class Shown(NamedTuple):
  """One image of the sheet."""

  title: str
  image: Float[np.ndarray, 'h w c']  # intensities 0 to 1
  masks: Num[np.ndarray, 'r h w']
  annotated: Bool[np.ndarray, ' r']


def write_sheet(
  path: str | os.PathLike, shown: Sequence[Shown], raters: Sequence[str], *, title: str
) -> None:
  """Writes the sheet as PNG, all or nothing.

  Of every image the part around the largest marks is shown, at most ``MOST`` pixels wide.
  """
  page.replace(Path(path), draw_sheet(shown, raters, title=title))


def draw_sheet(shown: Sequence[Shown], raters: Sequence[str], *, title: str) -> bytes:
  """The sheet as PNG."""
  columns = min(COLUMNS, len(shown))
  rows = -(-len(shown) // columns)
  with matplotlib.rc_context(CHART):
    figure = Figure(figsize=(2.3 * columns, 2.5 * rows + 0.9), layout='constrained')
    figure.suptitle(wrap(title, 32 * columns), fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
      axes.set_axis_off()
    for axes, one in zip(grid.flat, shown, strict=False):
      tile = _tile(one)
      tiles.paint(axes, tile)
      axes.set_title(tile.title, fontsize=6.5, fontweight='normal', loc='center', pad=2)
    lines = [Line2D([], [], color=panels.color_of(number), lw=2) for number in range(len(raters))]
    figure.legend(lines, [wrap(name) for name in raters], loc='outside lower center', ncols=7)
    return png(figure)


def _tile(one: Shown) -> tiles.Tile:
  rows, columns = window(one.masks)
  masks = one.masks[:, rows, columns]
  whole = f'{one.masks.shape[1]}x{one.masks.shape[2]}'
  side = f'{masks.shape[1]}x{masks.shape[2]}'
  lines = panels.rater_lines(masks, one.annotated)
  count = int(one.annotated.sum())
  name = one.title if len(one.title) <= LETTERS else f'…{one.title[1 - LETTERS :]}'
  title = f'{name}\n{count} rater{"s" * (count != 1)}, {side} of {whole} pixels'
  return tiles.Tile(title, panels.gray_or_color(one.image[rows, columns]), lines)


def window(masks: Num[np.ndarray, 'r h w']) -> tuple[slice, slice]:
  """A square, where the image allows it, of twice the extent of the marks, around their middle.

  Where the marks extend further than ``MOST``, the square lies where most of them are.
  """
  marked = masks.any(axis=0)
  if not marked.any():
    marked = np.ones_like(marked)
  spans = [np.flatnonzero(marked.any(axis=axis)) for axis in (1, 0)]
  side = int(np.clip(2 * max(span[-1] - span[0] + 1 for span in spans), LEAST, MOST))
  middle = [(span[0] + span[-1]) // 2 for span in spans]
  if max(span[-1] - span[0] for span in spans) >= MOST:
    middle = _densest(marked, side)
  return tuple(
    slice(start := int(np.clip(place - side // 2, 0, max(length - side, 0))), start + side)
    for place, length in zip(middle, marked.shape, strict=True)
  )


def _densest(marked: Bool[np.ndarray, 'h w'], side: int) -> list[int]:
  """The middle of the square with most marks, to a quarter of its side."""
  step = side // 4
  starts = [range(0, max(length - side, 0) + 1, step) for length in marked.shape]
  places = [(row, column) for row in starts[0] for column in starts[1]]
  best = max(places, key=lambda at: marked[at[0] : at[0] + side, at[1] : at[1] + side].sum())
  return [start + side // 2 for start in best]
