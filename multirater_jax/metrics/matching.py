"""Optimal one-to-one matching of samples and raters; runs on the host (SciPy), unit by unit."""

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

Scores = Float[np.ndarray, 'b s r']
Present = Bool[np.ndarray, 'b r']


def dice_match(dice: Scores, present: Present) -> Float[np.ndarray, ' b']:
  """Mean Dice of the best one-to-one assignment of samples to raters.

  With at least as many samples as raters every rater gets a sample of its own; with fewer, only
  as many raters as there are samples are matched and enter the mean. NaN if nobody drew.

  Source: Kuhn 1955; used by D-Persona (Wu et al., CVPR 2024).
  """
  return _each(_match, dice, present)


def hm_iou(iou: Scores, present: Present) -> Float[np.ndarray, ' b']:
  """Hungarian-matched IoU: both sides repeated to the least common multiple of their numbers.

  Every mask then counts equally on its side whatever the numbers are. NaN if nobody drew.

  Source: Kohl et al. 2019 (HPU-Net, arXiv:1905.13077), section 4; Zbinden et al. 2023 (CCDM).
  """
  return _each(_match_repeated, iou, present)


def _each(match, scores: Scores, present: Present) -> Float[np.ndarray, ' b']:
  rows = zip(np.asarray(scores, np.float64), present, strict=True)
  return np.array([match(row[:, drew]) if drew.any() else np.nan for row, drew in rows])


def _match(scores: Float[np.ndarray, 's r']) -> float:
  return float(scores[linear_sum_assignment(scores, maximize=True)].mean())


def _match_repeated(scores: Float[np.ndarray, 's r']) -> float:
  common = math.lcm(*scores.shape)
  samples, raters = (common // number for number in scores.shape)
  return _match(scores.repeat(samples, 0).repeat(raters, 1))
