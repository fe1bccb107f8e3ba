"""Does a trained model do what prompts say? Sizes and outlines of its masks, prompt by prompt."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from multirater_jax import style_prompts, text
from multirater_jax.experiment import Experiment, stage_key
from multirater_jax.method import Method, Params, image_keys
from multirater_jax.scoring import batches_of

Measured = Float[np.ndarray, 'n p']  # of every test image and prompt


def obedience(
  experiment: Experiment,
  stage: str,
  method: Method,
  params: Params,
  *,
  ends: tuple[str, str],
  points: int = 5,
) -> dict[str, Any]:
  """What prompts do to the masks of the test images; the dict that ``prompts.json`` holds.

  ``interpolation``: prompts on the way between the two ``ends``. ``trained`` and ``held_out``: the
  paraphrases of each area, and those for a smooth and for a ragged outline of typical area, the
  latter on the images where the raters' own outlines differ.
  """
  model = experiment.config.model
  ragged = ragged_images(experiment)

  def run(prompts):
    style = text.embed(prompts, model.text_encoder, dim=model.text_dim)
    return measure(experiment, stage, method, params, style)

  way = text.interpolate(*text.embed(ends, model.text_encoder, dim=model.text_dim), points)
  areas, _ = measure(experiment, stage, method, params, way)
  found = {
    'stage': stage,
    'split': 'test',
    'images': len(areas),
    'ragged_images': int(ragged.sum()),
  }
  found['interpolation'] = {'start': ends[0], 'end': ends[1], **rising(areas)}
  for name, split in (('trained', 'train'), ('held_out', 'test')):
    found[name] = _areas(split, run) | _outlines(split, run, ragged)
  return found


def _areas(split, run) -> dict[str, Any]:
  """Whether the paraphrases of the levels of area keep the order of the levels."""
  cells = style_prompts.paraphrases(split)
  prompts = {area: cells[style_prompts.cell_of(area)] for area in style_prompts.AREAS}
  areas = np.stack([run(prompts[area])[0] for area in prompts], axis=-1)
  means = {area: areas[..., i].mean(0).tolist() for i, area in enumerate(prompts)}
  return {'prompts': prompts, 'areas': means, **ordered(areas)}


def _outlines(split, run, chosen) -> dict[str, float]:
  """Whether the paraphrases for a ragged outline give rougher masks than those for a smooth one."""
  cells = style_prompts.paraphrases(split)
  rough = {
    name: outline(*run(cells[style_prompts.cell_of('typical', name)]))[chosen]
    for name in ('smooth', 'ragged')
  }
  share = (rough['ragged'] > rough['smooth']).mean() if chosen.any() else float('nan')
  return {'ragged_above_smooth': float(share)}


def ragged_images(experiment: Experiment) -> Bool[np.ndarray, ' n']:
  """Test images of which some rater drew a ragged outline and some other one did not."""
  records = np.sort(experiment.records['test'])
  found = np.zeros(len(records), bool)
  cells = jax.jit(style_prompts.style_cells)
  for batch in batches_of(experiment, records, alone=True):
    outlines = np.asarray(cells(batch['masks'], batch['annotated'])) % len(style_prompts.OUTLINES)
    is_ragged = outlines == style_prompts.OUTLINES.index('ragged')
    ragged = (is_ragged & batch['annotated']).any(1) & (~is_ragged & batch['annotated']).any(1)
    found[np.searchsorted(records, batch['index'][ragged])] = True
  return found


def measure(
  experiment: Experiment,
  stage: str,
  method: Method,
  params: Params,
  style: Float[np.ndarray, 'p d'],
) -> tuple[Measured, Measured]:
  """Area in pixels and perimeter of the foreground of every test image under every prompt.

  All prompts of an image see the same draw of the bank; tiles of an image are added up.
  """
  records = np.sort(experiment.records['test'])
  rng = jax.random.fold_in(stage_key(experiment, stage), 3)
  total = np.zeros((2, len(records), len(style)))

  @jax.jit
  def shapes(keys, image, valid):
    probs = method.personalize(params, keys, image, jnp.asarray(style))
    inside = (probs.argmax(-1) > 0) & valid[:, None]
    return jnp.stack(style_prompts.area_and_perimeter(inside))

  for batch in batches_of(experiment, records, alone=True):
    real = batch['index'] >= 0
    keys = image_keys(rng, jnp.asarray(batch['index']))
    found = shapes(keys, jnp.asarray(batch['image']), jnp.asarray(batch['valid']))
    place = np.searchsorted(records, batch['index'][real])
    np.add.at(total, (slice(None), place), np.asarray(found)[:, real])
  return total[0], total[1]


def outline(area: Measured, perimeter: Measured) -> Measured:
  """Perimeter / sqrt(area), 0 for an empty mask; about 4.5 for a disk."""
  return perimeter / np.sqrt(np.maximum(area, 1))


def rising(areas: Measured) -> dict[str, Any]:
  """Mean areas, and the share of images whose area never falls and is larger at the end."""
  steps = np.diff(areas, axis=1)
  monotone = (steps >= 0).all(1) & (areas[:, -1] > areas[:, 0])
  return {'areas': areas.mean(0).tolist(), 'monotone': float(monotone.mean())}


def ordered(areas: Float[np.ndarray, 'n p l']) -> dict[str, float]:
  """Shares of images and paraphrases whose area grows from level to level, p-th against p-th.

  ``ordered`` through all three levels, ``ordered_ends`` from the first to the last.
  """
  return {
    'ordered': float((np.diff(areas, axis=-1) > 0).all(-1).mean()),
    'ordered_ends': float((areas[..., -1] > areas[..., 0]).mean()),
  }
