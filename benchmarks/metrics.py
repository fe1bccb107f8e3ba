"""Scores beside the plain formulation of the published code, MONAI and MedPy.

  python -m benchmarks.metrics            400 images of 128 x 128, 50 samples, 4 raters
  python -m benchmarks.metrics --quick    a few images

Every formulation runs in a process of its own, which reports time per image, peak memory and its
values; the values are compared with ours. MONAI and MedPy take part where they are installed
(``pip install multirater_jax[bench]``). The last lines say how the table is read.
"""

import argparse
import importlib.util
import json
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SIZE, SAMPLES, RATERS, BATCH = 128, 50, 4, 8


class Result(NamedTuple):
  """What one formulation needed, and its values of the first images."""

  images: int
  seconds: float
  peak_mb: float  # of the whole process
  base_mb: float  # of the process before the first image, libraries loaded
  values: dict[str, list[float]]


def images(number: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Probabilities [s h w] and masks [r h w]: soft and hard discs around one center."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:SIZE, :SIZE]
  for _ in range(number):
    center, radius = rng.uniform(40, 88, 2), rng.uniform(8, 24)
    places = center + rng.normal(0, 3, (SAMPLES + RATERS, 2))
    radii = radius * rng.uniform(0.7, 1.3, SAMPLES + RATERS)
    distance = np.hypot(y - places[:, :1, None], x - places[:, 1:, None]).astype(np.float32)
    inside = radii[:, None, None].astype(np.float32) - distance
    yield 1 / (1 + np.exp(-inside[:SAMPLES].clip(-50))), (inside[SAMPLES:] > 0).astype(np.uint8)


def ours(number: int, *, everything: bool = False) -> tuple[float, float, dict]:
  """GED and all Dice columns from counts, ``BATCH`` images at a time; compiled beforehand."""
  import jax
  import jax.numpy as jnp

  from multirater_jax.metrics import agreement, count, matching, unit_scores

  annotated = np.ones((BATCH, RATERS), bool)

  @jax.jit
  def counted(probs, masks):
    return count(jnp.stack([1 - probs, probs], -1), masks, annotated)

  @jax.jit
  def ged_and_dice(probs, masks):
    counts = counted(probs, masks)
    pairs = counts.pairs
    columns = {
      'ged': agreement.ged(pairs).value,
      'ged_dpersona': agreement.ged(pairs, empty_distance=1.0).value,
      'dice_soft': agreement.dice_soft(counts.soft),
      'dice_max_samples': agreement.dice_max_samples(pairs),
      'dice_max_raters': agreement.dice_max_raters(pairs),
    }
    return columns, agreement.cross_dice(pairs)

  def batch_scores(probs, masks):
    if everything:
      return unit_scores(jax.device_get(counted(probs, masks)))
    columns, dice = jax.device_get(ged_and_dice(probs, masks))
    return columns | {'dice_match': matching.dice_match(dice, annotated)}

  batch_scores(
    np.zeros((BATCH, SAMPLES, SIZE, SIZE), np.float32),
    np.zeros((BATCH, RATERS, SIZE, SIZE), np.uint8),
  )
  seconds, base, columns = 0.0, peak_mb(), []
  stream = images(number)
  for _ in range(number // BATCH):
    probs, masks = (
      np.stack(part) for part in zip(*(next(stream) for _ in range(BATCH)), strict=True)
    )
    start = time.perf_counter()
    columns.append(batch_scores(probs, masks))
    seconds += time.perf_counter() - start
  return seconds, base, {k: np.concatenate([c[k] for c in columns]).tolist() for k in columns[0]}


def all_columns(number: int) -> tuple[float, float, dict]:
  """Every column of the library, the ones beyond GED and Dice included."""
  return ours(number, everything=True)


def boolean_expansion(number: int) -> tuple[float, float, dict]:
  """GED and Dice by one Boolean per pair, pixel and class, and a loop over pairs for Dice."""
  from scipy.optimize import linear_sum_assignment

  def one_hot(masks):
    return np.eye(2, dtype=bool)[masks.reshape(len(masks), -1)]

  def distances(a, b):
    both = (a[:, None] & b[None]).sum(2)
    either = (a[:, None] | b[None]).sum(2)
    return 1 - (both / (either + 1e-8))[..., 1]

  def dice(a, b):
    return (2.0 * (a * b).sum() + 1e-8) / (a.sum() + b.sum() + 1e-8)

  def scores(probs, masks):
    hard = (probs > 0.5).astype(np.uint8)
    a, b = one_hot(hard), one_hot(masks)
    ged = 2 * distances(a, b).mean() - distances(a, a).mean() - distances(b, b).mean()
    matrix = np.array([[dice(s.astype(float), m.astype(float)) for s in hard] for m in masks])
    rows = linear_sum_assignment(1 - matrix)
    means = probs.mean(0), masks.mean(0)
    soft = [dice(*((m > t).astype(float) for m in means)) for t in (0.1, 0.3, 0.5, 0.7, 0.9)]
    return {
      'ged_dpersona': ged,
      'dice_soft': np.mean(soft),
      'dice_max_samples': matrix.max(0).mean(),
      'dice_max_raters': matrix.max(1).mean(),
      'dice_match': matrix[rows].mean(),
    }

  return _loop(number, scores)


def surfaces(number: int) -> tuple[float, float, dict]:
  """HD95 and Dice of the consensus against every rater, one image at a time."""
  from multirater_jax.metrics import agreement
  from multirater_jax.metrics.surface import surface_scores

  def scores(probs, masks):
    consensus, masks = probs.mean(0) > 0.5, masks > 0
    both, areas = (consensus & masks).sum((1, 2)), masks.sum((1, 2))
    return {
      'dice': float(np.mean(agreement.dice(both, consensus.sum(), areas))),
      'hd95': np.mean([surface_scores(consensus, mask).hd95 for mask in masks]),
    }

  return _loop(number, scores)


def medpy(number: int) -> tuple[float, float, dict]:
  """Dice by MedPy (its HD95 pools both directions and is another quantity: timed as it is)."""
  from medpy.metric import binary

  def scores(probs, masks):
    consensus = probs.mean(0) > 0.5
    return {
      'dice': np.mean([binary.dc(consensus, mask) for mask in masks]),
      'hd95 (pooled)': np.mean([binary.hd95(consensus, mask) for mask in masks]),
    }

  return _loop(number, scores)


def monai(number: int) -> tuple[float, float, dict]:
  """Dice and HD95 by MONAI."""
  import torch
  from monai.metrics import compute_dice, compute_hausdorff_distance

  def scores(probs, masks):
    truth = torch.from_numpy(np.stack([1 - masks, masks], 1)).float()
    consensus = torch.from_numpy(probs.mean(0) > 0.5).float()
    output = torch.stack([1 - consensus, consensus])[None].expand_as(truth)
    return {
      'dice': compute_dice(output, truth, include_background=False).mean().item(),
      'hd95': compute_hausdorff_distance(output, truth, percentile=95).mean().item(),
    }

  return _loop(number, scores)


def _loop(number: int, scores: Callable) -> tuple[float, float, dict]:
  """One image at a time; the first is not timed."""
  first = next(images(1, seed=1))
  scores(*(part[:4] for part in first))
  seconds, base, columns = 0.0, peak_mb(), []
  for probs, masks in images(number):
    start = time.perf_counter()
    columns.append(scores(probs, masks))
    seconds += time.perf_counter() - start
  return seconds, base, {k: [float(c[k]) for c in columns] for k in columns[0]}


def peak_mb() -> float:
  """Largest resident memory of this process so far."""
  scale = 1 if platform.system() == 'Darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def measure(function: Callable, number: int) -> Result:
  """Runs one formulation in a fresh process."""
  context = multiprocessing.get_context('spawn')
  with context.Pool(1) as pool:
    return pool.apply(_measured, (function, number))


def _measured(function: Callable, number: int) -> Result:
  seconds, base, values = function(number)
  return Result(number, seconds, peak_mb(), base, values)


def difference(result: Result, reference: Result) -> float:
  """Largest difference in the values both computed for the same images; NaN if there are none."""
  shared = result.values.keys() & reference.values.keys()
  n = min(result.images, reference.images)
  found = [
    np.abs(np.subtract(result.values[name][:n], reference.values[name][:n])).max()
    for name in shared
  ]
  return float(max(found, default=np.nan))


def groups(number: int, few: int) -> dict[str, list[tuple[str, Callable, int, str]]]:
  """What is compared with what: label, formulation, images, packages it needs."""
  return {
    'GED and all Dice scores': [
      ('multirater_jax', ours, number, ''),
      ('multirater_jax, all columns', all_columns, number, ''),
      ('NumPy, boolean expansion', boolean_expansion, few, ''),
    ],
    'Dice and HD95 of the consensus': [
      ('multirater_jax', surfaces, number, ''),
      ('MedPy', medpy, number, 'medpy'),
      ('MONAI', monai, number, 'monai torch'),
    ],
  }


def report(title: str, rows: list[tuple[str, Callable, int, str]]) -> list[dict[str, Any]]:
  """Measures and prints one table; the first row is the reference."""
  print(f'\n{title}\n{"":30}{"ms/image":>10}{"ratio":>8}{"peak MB":>9}{"above":>8}{"max diff":>10}')
  found, reference = [], None
  for label, function, number, packages in rows:
    if any(importlib.util.find_spec(name) is None for name in packages.split()):
      print(f'{label:30}{"not installed":>18}')
      continue
    result = measure(function, number)
    reference = reference or result
    line = {
      'formulation': label,
      'images': number,
      'ms_per_image': 1e3 * result.seconds / number,
      'ratio': result.seconds / number / (reference.seconds / reference.images),
      'peak_mb': result.peak_mb,
      'mb_above_start': result.peak_mb - result.base_mb,
      'max_difference': difference(result, reference),
    }
    found.append(line)
    print(
      f'{label:30}{line["ms_per_image"]:10.2f}{line["ratio"]:8.1f}{line["peak_mb"]:9.0f}'
      f'{line["mb_above_start"]:8.0f}{line["max_difference"]:10.1e}'
    )
  return found


def main() -> None:
  """Measures everything and writes the figures."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--quick', action='store_true', help='a few images')
  parser.add_argument('--output', type=Path, help='JSON file for the figures')
  options = parser.parse_args()
  number, few = (32, 2) if options.quick else (400, 10)
  print(f'{number} images of {SIZE} x {SIZE}, {SAMPLES} samples, {RATERS} raters')
  found = {title: report(title, rows) for title, rows in groups(number, few).items()}
  print('\nratio: time per image over that of the first row. peak: the whole process, libraries')
  print('included; above: beyond what it held before the first image. max diff: of shared scores.')
  if options.output:
    options.output.write_text(json.dumps(found, indent=2) + '\n')


if __name__ == '__main__':
  main()
