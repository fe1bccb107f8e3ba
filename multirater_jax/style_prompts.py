"""Styles of a mask that can be measured, and how a radiologist would ask for each of them.

A style is a cell of a grid: its area and the roughness of its outline, both relative to the other
raters of the same image. The words for a cell also name what usually goes with it (halo, margin,
spicules); what is measured is area and roughness alone. The vocabulary and the grid are ours.
"""

import functools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from multirater_jax import text

AREAS = ('conservative', 'typical', 'generous')
OUTLINES = ('smooth', 'plain', 'ragged')
NUM_CELLS = len(AREAS) * len(OUTLINES)
# Between these a style is the middle one: area, and perimeter / sqrt(area), over the raters' mean.
_AREA_LIMITS = (0.85, 1.15)
_OUTLINE_LIMITS = (0.95, 1.05)

# Every level in other words; the middle outline is not spoken of.
_TRAIN = {
  'conservative': (
    'conservative outline',
    'tight contour around the core',
    'small and cautious, excludes the halo',
    'only the solid core, leave out the halo',
    'narrow outline inside the visible edge',
    'strict segmentation of the dense center',
    'draw it small and tight',
    'minimal contour, without the margin',
    'restrictive, only what is certain',
    'exclude the hazy border',
  ),
  'typical': (
    'typical outline',
    'average contour at the visible edge',
    'normal size, neither tight nor wide',
    'standard segmentation of the lesion',
    'medium outline along the edge',
    'draw it as most readers would',
    'moderate contour, usual extent',
    'balanced, in between the raters',
    'ordinary boundary of average size',
    'the usual outline of the lesion',
  ),
  'generous': (
    'generous outline',
    'wide contour around the halo',
    'large and inclusive, includes the halo',
    'the whole lesion, take in the halo',
    'broad outline outside the visible edge',
    'liberal segmentation of the faint surroundings',
    'draw it large and wide',
    'maximal contour, with a margin',
    'extensive, everything that is suspicious',
    'include the hazy border',
  ),
  'smooth': (
    'smooth boundary',
    'rounded edges',
    'clean and even line',
    'compact, round shape',
    'ignore the spicules',
    'simplified boundary without spikes',
  ),
  'ragged': (
    'ragged boundary',
    'irregular edges',
    'rough and jagged line',
    'spiky, uneven shape',
    'includes the spiculated margin',
    'detailed boundary that follows every spicule',
  ),
}
_TEST = {
  'conservative': (
    'conservative outline, excludes the halo',
    'a tight and cautious contour',
    'keep it small, only the dense core',
    'restrictive segmentation without the hazy margin',
    'narrow contour, leave out what is not certain',
  ),
  'typical': (
    'typical contour of average extent',
    'a standard, moderate outline',
    'the usual size, as an average reader would draw',
    'ordinary segmentation along the visible edge',
    'medium contour, neither small nor large',
  ),
  'generous': (
    'generous outline with a margin',
    'a wide and inclusive contour',
    'make it large, the whole halo',
    'liberal segmentation including the hazy margin',
    'broad contour, take in everything suspicious',
  ),
  'smooth': ('with a smooth, rounded line', 'even edges, no spicules', 'compact and clean'),
  'ragged': ('with a ragged, jagged line', 'irregular and spiky edges', 'follow the spicules'),
}
VOCABULARIES = {'train': _TRAIN, 'test': _TEST}


def cell_of(area: str, outline: str = 'plain') -> int:
  """The number of a cell from its two names."""
  return AREAS.index(area) * len(OUTLINES) + OUTLINES.index(outline)


def paraphrases(split: str) -> tuple[tuple[str, ...], ...]:
  """Prompts of every cell, as many for each; those of ``'test'`` are never trained on."""
  return tuple(_of_cell(VOCABULARIES[split], a, o) for a in AREAS for o in OUTLINES)


def _of_cell(words, area, outline):
  """Every phrase for the area, with a phrase for the outline behind it or, in turn, before it."""
  if outline == 'plain':
    return words[area]
  lines = words[outline]
  pairs = [(phrase, lines[i % len(lines)]) for i, phrase in enumerate(words[area])]
  return tuple(', '.join(pair[:: 1 if i % 2 else -1]) for i, pair in enumerate(pairs))


@functools.cache
def embeddings(
  split: str, encoder: str | Path | None = None, *, dim: int = text.DIM
) -> Float[np.ndarray, 'n p d']:
  """``paraphrases`` through ``text.embed``: cells, paraphrases, numbers."""
  prompts = paraphrases(split)
  flat = text.embed([prompt for cell in prompts for prompt in cell], encoder, dim=dim)
  return flat.reshape(len(prompts), len(prompts[0]), -1)


def style_cells(
  masks: Integer[Array, 'b r h w'], annotated: Bool[Array, 'b r']
) -> Integer[Array, 'b r']:
  """The cell of every mask: area and outline relative to the mean of the image's raters.

  Foreground is any class but 0; the image's border is no outline. Absent raters and empty masks
  enter no mean. An empty mask is conservative and plain where another rater drew something, typical
  and plain where nobody did; the cell of an absent rater has no meaning.
  """
  area, perimeter = area_and_perimeter(masks > 0)
  drawn = annotated & (area > 0)
  outline = perimeter / jnp.sqrt(jnp.maximum(area, 1))
  roughness = jnp.where(drawn, _level(outline, drawn, _OUTLINE_LIMITS), OUTLINES.index('plain'))
  return len(OUTLINES) * _level(area, drawn, _AREA_LIMITS) + roughness


def area_and_perimeter(
  inside: Bool[Array, 'b r h w'],
) -> tuple[Float[Array, 'b r'], Float[Array, 'b r']]:
  """Pixels inside, and sides of pixels between inside and outside."""
  sides = (inside[..., 1:, :] ^ inside[..., :-1, :], inside[..., 1:] ^ inside[..., :-1])
  area, *perimeter = [part.sum((-2, -1)).astype(jnp.float32) for part in (inside, *sides)]
  return area, sum(perimeter)


def _level(values, counted, limits):
  """0, 1 or 2: below, between, above the limits of value / mean over those counted."""
  total = jnp.where(counted, values, 0).sum(-1, keepdims=True)
  mean = total / jnp.maximum(counted.sum(-1, keepdims=True), 1)
  ratio = jnp.where(mean > 0, values / jnp.where(mean > 0, mean, 1), 1)
  return (ratio >= limits[0]).astype(jnp.int32) + (ratio > limits[1])
