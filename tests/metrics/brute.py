"""Every score of one unit by loops over pairs and pixels in float64, written from the definitions.

``probs`` is [s d h w k], ``masks`` [r d h w], ``drew`` [r d]: rater r annotated slice d.
"""

import itertools
import math

import numpy as np
from scipy.optimize import linear_sum_assignment


def harden(probs):
  return (probs[..., 1] > 0.5).astype(int) if probs.shape[-1] == 2 else probs.argmax(-1)


def scores(probs, masks, drew):
  raters = [r for r in range(len(masks)) if drew[r].any()]
  if not raters:
    return None
  k = probs.shape[-1]
  hard = harden(probs)
  everywhere = drew.any(0)
  every = [(hard[s], everywhere) for s in range(len(hard))]
  drawn = [(masks[r], drew[r]) for r in raters]
  out = {}
  for name, empty in (('ged', 0.0), ('ged_dpersona', 1.0)):
    cross = np.mean([distance(a, b, k, empty) for a in every for b in drawn])
    within = np.mean([distance(a, b, k, empty) for a in every for b in every])
    between = [distance(a, b, k, empty) for a in drawn for b in drawn]
    between = np.nanmean(between)
    out |= {name: 2 * cross - within - between, f'{name}_cross': cross}
    out |= {f'{name}_samples': within, f'{name}_raters': between}
  out['ged_unbiased'] = 2 * out['ged_cross'] - off_diagonal(every, k) - off_diagonal(drawn, k)
  dice_of = np.array([[dice(a, b, k) for b in drawn] for a in every])
  iou_of = np.array([[1 - distance(a, b, k, 0.0) for b in drawn] for a in every])
  out['dice_max_samples'] = dice_of.max(1).mean()
  out['dice_max_raters'] = dice_of.max(0).mean()
  out['dice_max'] = (out['dice_max_samples'] + out['dice_max_raters']) / 2
  out['dice_match'] = match(dice_of)
  common = math.lcm(*iou_of.shape)
  repeated = np.kron(iou_of, np.ones([common // n for n in iou_of.shape]))
  out['hm_iou'] = match(repeated)
  out |= soft(probs, hard, masks, drew)
  out |= calibration(probs, masks, drew)
  out['ncc'] = ncc(probs, masks, drew)
  out['ci_score'] = ci_score(every, drawn, out['dice_max_raters'], k)
  out['empty_raters'] = np.mean([[(m[d] == c).sum() == 0 for m, d in drawn] for c in range(1, k)])
  out['empty_samples'] = np.mean([[(m[d] == c).sum() == 0 for m, d in every] for c in range(1, k)])
  return out


def shared(a, b):
  both = a[1] & b[1]
  return a[0][both], b[0][both], both.any()


def overlaps(a, b, k):
  """Intersection and areas of every foreground class on what both annotated."""
  x, y, some = shared(a, b)
  if not some:
    return None
  return [((x == c) & (y == c)).sum() for c in range(1, k)], [
    ((x == c).sum(), (y == c).sum()) for c in range(1, k)
  ]


def distance(a, b, k, empty):
  counted = overlaps(a, b, k)
  if counted is None:
    return np.nan
  unions = [x + y - i for i, (x, y) in zip(*counted)]
  ious = [i / u if u else 1 - empty for i, u in zip(counted[0], unions)]
  return 1 - sum(ious) / len(ious)


def dice(a, b, k):
  counted = overlaps(a, b, k)
  values = [2 * i / (x + y) if x + y else 1.0 for i, (x, y) in zip(*counted)]
  return sum(values) / len(values)


def off_diagonal(group, k):
  pairs = [distance(a, b, k, 0.0) for a, b in itertools.permutations(group, 2)]
  return np.nanmean(pairs) if np.isfinite(pairs).any() else np.nan


def match(scores):
  rows, columns = linear_sum_assignment(1 - scores)
  return scores[rows, columns].mean()


def votes(masks, drew, c):
  """Vote fraction and which pixels count, both [d h w]."""
  number = drew.sum(0)
  total = ((masks == c) & drew[:, :, None, None]).sum(0)
  return total / np.maximum(number, 1)[:, None, None], number > 0


def soft(probs, hard, masks, drew):
  out = {'dice_soft': [], 'dice_soft_hard': []}
  for c in range(1, probs.shape[-1]):
    vote, pixels = votes(masks, drew, c)
    means = {'dice_soft': probs[..., c].mean(0), 'dice_soft_hard': (hard == c).mean(0)}
    for name, mean in means.items():
      for t in (0.1, 0.3, 0.5, 0.7, 0.9):
        x, y = mean[pixels] > t, vote[pixels] > t
        total = x.sum() + y.sum()
        out[name].append(2 * (x & y).sum() / total if total else 1.0)
  return {name: np.mean(values) for name, values in out.items()}


def calibration(probs, masks, drew):
  out = {'ece': [], 'brier': [], 'ece_rater': []}
  for c in range(1, probs.shape[-1]):
    vote, pixels = votes(masks, drew, c)
    mean = probs[..., c].mean(0)
    out['brier'].append(((mean - vote)[pixels] ** 2).mean())
    out['ece'].append(ece(mean[pixels], vote[pixels]))
    own = [ece(mean[d], (masks[r] == c)[d]) for r, d in enumerate(drew) if d.any()]
    out['ece_rater'].append(np.mean(own))
  return {name: np.mean(values) for name, values in out.items()}


def ece(confidence, frequency):
  bins = np.minimum(np.floor(confidence.ravel() * 10 + 1e-6), 9)
  gaps = []
  for m in range(10):
    inside = bins == m
    if inside.any():
      gap = confidence.ravel()[inside].mean() - frequency.ravel()[inside].mean()
      gaps.append(inside.mean() * abs(gap))
  return sum(gaps)


def ncc(probs, masks, drew):
  log = np.log(probs + 1e-8).mean(0)
  a = -(probs.mean(0) * log).sum(-1)
  values = []
  for r, d in enumerate(drew):
    if not d.any():
      continue
    b = -np.take_along_axis(log, masks[r][..., None], -1)[..., 0]
    x, y = a[d].ravel(), b[d].ravel()
    flat = x.std() < 1e-6 or y.std() < 1e-6
    values.append(0.0 if flat else np.corrcoef(x, y)[0, 1])
  return np.mean(values)


def ci_score(every, drawn, best, k):
  sensitivity, ranges = [], []
  for c in range(1, k):
    voted = np.any([(m == c) & d[:, None, None] for m, d in drawn], 0)
    covered = np.any([(m == c) & d[:, None, None] for m, d in every], 0)
    sensitivity.append((voted & covered).sum() / voted.sum() if voted.any() else 1.0)
  for group in (every, drawn):
    values = []
    for a, b in itertools.combinations(group, 2):
      x, y, some = shared(a, b)
      if some:
        values.append(np.mean([np.var((x == c).astype(int) - (y == c)) for c in range(1, k)]))
    ranges.append((min(values), max(values)) if values else (0.0, 0.0))
  (low, high), (rater_low, rater_high) = ranges
  agreement = 1 - (abs(low - rater_low) + abs(high - rater_high)) / 2
  s = np.mean(sensitivity)
  return 3 * s * best * agreement / (s + best + agreement)


def personalized(probs, masks, drew):
  hard, k = harden(probs), probs.shape[-1]
  n = len(masks)
  out = {name: np.full(n, np.nan) for name in ('dice_rater', 'dice_rater_gap', 'area_bias')}
  for r in range(n):
    score = [
      dice((hard[r], drew[q]), (masks[q], drew[q]), k) if drew[q].any() else np.nan
      for q in range(n)
    ]
    if not drew[r].any():
      continue
    out['dice_rater'][r] = score[r]
    others = [score[q] for q in range(n) if q != r and drew[q].any()]
    if others:
      out['dice_rater_gap'][r] = score[r] - np.mean(others)
    bias = []
    for c in range(1, k):
      x, y = (hard[r][drew[r]] == c).sum(), (masks[r][drew[r]] == c).sum()
      bias.append(2 * (x - y) / (x + y) if x + y else 0.0)
    out['area_bias'][r] = np.mean(bias)
  return out
