"""Fit a new rater to a trained run from a few images they drew, and score the result on others."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Integer

from multirater_jax.adaptation import adapt
from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from multirater_jax.data.splits import read
from multirater_jax.data.tiles import eval_batches
from multirater_jax.experiment import build_method
from multirater_jax.method import Method, Params, image_keys
from multirater_jax.metrics import bootstrap
from multirater_jax.trained import load_method, run_facts, save_adapted


class Task(NamedTuple):
  """A new rater's images: which are fitted, and which are scored."""

  source: Source
  rater: int  # slot of the new rater in ``source``
  fitted: np.ndarray  # record numbers
  scored: np.ndarray


def choose(source: Source, rater: str, workdir: Path, num_images: int, seed: int) -> Task:
  """``num_images`` records the rater drew on; scored are those of the run's test cases.

  Without common cases the remaining records are scored. Raises DataError where too few are there.
  """
  number = _number_of(source, rater)
  drawn = [i for i, r in enumerate(source.info.records) if r['areas'][number] is not None]
  test = set(read(workdir / 'split.json')['test'])
  scored = [i for i in drawn if source.info.cases[i] in test]
  order = np.random.default_rng(seed).permutation([i for i in drawn if i not in scored])
  fitted = order[:num_images]
  scored = scored or list(order[num_images:])
  if len(fitted) < num_images or not scored:
    raise DataError(
      f'{rater} drew {len(drawn)} images, too few to fit {num_images} and score others.'
    )
  return Task(source, number, np.sort(fitted), np.array(sorted(scored)))


def _number_of(source: Source, rater: str) -> int:
  """The slot of a rater, named as in the data set ("rater 5", "anna") or as their folder."""
  names = source.info.raters
  for number, name in enumerate(names):
    if rater in (name, f'rater_{name.removeprefix("rater ")}'):
      return number
  raise DataError(f'{source.directory} has no rater "{rater}"; it has {", ".join(names)}.')


def fit(workdir: Path, task: Task, name: str, *, steps: int, seed: int) -> dict[str, Any]:
  """Adapts the run to the rater, saves it under ``name`` and returns scores with intervals."""
  facts = run_facts(workdir)
  config, num_raters = facts.config, len(facts.raters)
  stage = config['stages'][-1]
  grown = build_method(config, stage, num_raters=num_raters + 1, num_classes=facts.num_classes)
  _, before = load_method(workdir, stage)
  image, masks = _crops(task, config['data'])
  params = adapt(grown, before, image, masks, num_raters=num_raters, steps=steps, seed=seed)
  save_adapted(workdir, name, params)
  scores = _score(task, config, grown, params, num_raters, seed)
  cases = np.array([task.source.info.cases[i] for i in task.scored])
  found = {label: bootstrap.interval(dice, cases)._asdict() for label, dice in scores.items()}
  gain = bootstrap.paired_difference(scores['adapted'], scores['consensus'], cases)
  return {
    'images': len(task.fitted),
    'crops': len(image),
    'scored': len(task.scored),
    'dice': found,
    'adapted minus consensus': gain._asdict(),
  }


def _batches(task: Task, records: np.ndarray, data: dict[str, Any]):
  return eval_batches(
    task.source,
    records,
    batch_size=data['eval_batch_size'],
    size=data['eval_size'],
    crop=data['eval_crop'],
    margin=data['eval_margin'],
  )


def _crops(
  task: Task, data: dict[str, Any]
) -> tuple[Float[np.ndarray, 'n h w c'], Integer[np.ndarray, 'n h w']]:
  """Tiles of the fitted images with anything any rater marked; all where nobody marked any."""
  images, masks, marked = [], [], []
  for batch in _batches(task, task.fitted, data):
    real = batch['index'] >= 0
    images.append(batch['image'][real])
    masks.append(batch['masks'][real, task.rater])
    marked.append((batch['masks'][real] > 0).any((1, 2, 3)))
  kept = np.concatenate(marked)
  kept = kept if kept.any() else np.ones_like(kept)
  return np.concatenate(images)[kept], np.concatenate(masks)[kept]


def _score(
  task: Task, config: dict[str, Any], method: Method, params: Params, num_raters: int, seed: int
) -> dict[str, Float[np.ndarray, ' n']]:
  """Foreground Dice with the new rater's masks: adapted, consensus of samples, nearest rater."""
  samples = config['evaluation']['num_samples']

  @jax.jit
  def outputs(keys, image):
    maps = method.personalize(params, keys, image, jnp.eye(num_raters + 1))
    consensus = method.sample(params, keys, image, samples).mean(1, keepdims=True)
    return jnp.concatenate([maps, consensus], axis=1).argmax(-1) > 0

  counts = np.zeros((len(task.scored), num_raters + 2, 3))
  for batch in _batches(task, task.scored, config['data']):
    index = batch['index']
    keys = image_keys(jax.random.key(seed), jnp.maximum(jnp.asarray(index), 0))
    drawn = np.asarray(outputs(keys, jnp.asarray(batch['image'])))
    rows = np.searchsorted(task.scored, index).clip(0, len(task.scored) - 1)
    truth = batch['masks'][:, task.rater] > 0
    np.add.at(counts, rows, _counts(drawn, truth, batch['valid'] & (index >= 0)[:, None, None]))
  dice = (2 * counts[..., 0] + 1e-9) / (counts[..., 1] + counts[..., 2] + 1e-9)
  known = dice[:, :num_raters]
  nearest = known[:, known.mean(0).argmax()]  # chosen with hindsight: a bound, not a method
  return {'adapted': dice[:, num_raters], 'consensus': dice[:, -1], 'nearest rater': nearest}


def _counts(
  drawn: Bool[np.ndarray, 'b o h w'],
  truth: Bool[np.ndarray, 'b h w'],
  valid: Bool[np.ndarray, 'b h w'],
) -> Float[np.ndarray, 'b o 3']:
  """Pixels in both, in the output, in the mask."""
  drawn, truth = drawn & valid[:, None], (truth & valid)[:, None]
  both, ours = (drawn & truth).sum((2, 3)), drawn.sum((2, 3))
  return np.stack([both, ours, np.broadcast_to(truth.sum((2, 3)), ours.shape)], -1).astype(float)
