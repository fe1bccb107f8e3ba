"""Tiles and panels of pictures, drawn as scalable markup and as PNG."""

from html import escape
from io import BytesIO
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from PIL import Image

from multirater_jax.report.figures import png, wrap
from multirater_jax.report.html import data_uri
from multirater_jax.report.style import CHART


class Contour(NamedTuple):
  """Outline of one class: closed polygons in pixel corners."""

  polygons: list
  color: str
  filled: bool = False
  dash: str = ''
  width: float = 1.3  # page pixels


class Tile(NamedTuple):
  """A picture with outlines; tiles that share ``pixels`` store them once."""

  title: str
  pixels: np.ndarray  # uint8, [h w] or [h w 3]
  contours: list


class Panel(NamedTuple):
  """All tiles of one image, in groups."""

  name: str
  kind: str
  ged: float
  groups: dict


def markup(panel: Panel, key: str, link: str = '') -> str:
  """A panel as HTML; ``key`` makes the names inside unique in the page, ``link`` comes last."""
  stored: dict = {}
  groups = ''.join(
    f'<h5>{escape(title)}</h5><div class="tiles">'
    + ''.join(_tile(tile, stored, key) for tile in tiles)
    + '</div>'
    for title, tiles in panel.groups.items()
  )
  return f'<article class="panel"><h4>{escape(heading(panel))}</h4>{groups}{link}</article>'


def heading(panel: Panel) -> str:
  """Name and distance of an image."""
  return f'{panel.name} · GED {panel.ged:.3f}' if np.isfinite(panel.ged) else panel.name


def _tile(tile: Tile, stored: dict, key: str) -> str:
  height, width = tile.pixels.shape[:2]
  if id(tile.pixels) in stored:
    picture = f'<use href="#{stored[id(tile.pixels)]}"/>'
  else:
    name = stored[id(tile.pixels)] = f'{key}-{len(stored)}'
    picture = (
      f'<image id="{name}" width="{width}" height="{height}" href="{_encode(tile.pixels)}"/>'
    )
  lines = ''.join(_stroke(contour) for contour in tile.contours)
  title = escape(tile.title)
  return (
    f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
    f'{picture}{lines}</svg><figcaption>{title}</figcaption></figure>'
  )


def _encode(pixels: np.ndarray) -> str:
  buffer = BytesIO()
  Image.fromarray(pixels).save(buffer, format='PNG', optimize=True)
  return data_uri(buffer.getvalue())


def _stroke(contour: Contour) -> str:
  track = ''.join(_track(polygon) for polygon in contour.polygons)
  if contour.filled:
    return f'<path d="{track}" style="fill:{contour.color};fill-opacity:.45;fill-rule:evenodd"/>'
  dash = f' stroke-dasharray="{contour.dash}"' if contour.dash else ''
  halo = f'{contour.width + 1.3:.1f}'
  return (
    f'<path d="{track}" stroke="#000" stroke-opacity=".6" stroke-width="{halo}"/>'
    f'<path d="{track}" stroke="{contour.color}" stroke-width="{contour.width:.1f}"{dash}/>'
  )


def _track(polygon: list) -> str:
  (x, y), *rest = polygon
  parts = [f'M{x} {y}']
  for to_x, to_y in rest:
    parts.append(f'h{to_x - x}' if to_y == y else f'v{to_y - y}')
    x, y = to_x, to_y
  return ''.join(parts) + 'z'


def picture(panel: Panel) -> bytes:
  """A panel as one PNG."""
  groups = list(panel.groups.values())
  columns = max(len(tiles) for tiles in groups)
  with matplotlib.rc_context(CHART):
    figure = Figure(figsize=(1.35 * columns, 1.62 * len(groups) + 0.3), layout='constrained')
    figure.suptitle(heading(panel), fontsize=9)
    grid = figure.subplots(len(groups), columns, squeeze=False)
    for axes in grid.flat:
      axes.set_axis_off()
    for row, tiles in zip(grid, groups, strict=True):
      for axes, tile in zip(row, tiles, strict=False):
        paint(axes, tile)
    return png(figure)


def paint(axes: Axes, tile: Tile) -> None:
  """A picture with its outlines into axes of a figure."""
  height, width = tile.pixels.shape[:2]
  axes.imshow(
    tile.pixels, cmap='gray', vmin=0, vmax=255, interpolation='nearest',
    extent=(0, width, height, 0),
  )  # fmt: skip
  axes.set_title(wrap(tile.title, 20), fontsize=6.5, fontweight='normal', loc='center', pad=2)
  for contour in filter(lambda contour: contour.polygons, tile.contours):
    outline = Outline.make_compound_path(
      *(Outline([*polygon, polygon[0]], closed=True) for polygon in contour.polygons)
    )
    look = {'facecolor': 'none', 'edgecolor': contour.color, 'linewidth': 0.7 * contour.width}
    if contour.filled:
      look = {'facecolor': contour.color, 'alpha': 0.45, 'linewidth': 0}
    dash = [float(length) for length in contour.dash.split()]
    axes.add_patch(PathPatch(outline, linestyle=(0, tuple(dash)) if dash else '-', **look))
