"""Harmonized: diversify with a Harmonizer and a GED loss, then personalize by frequency prompts.

python -m experiments.main --config=experiments/configs/harmonized.py:phantom  (lidc_slices, folder)

Measured 2026-11-21, 2 CPU cores (patient split, 16 samples; intervals in docs/results.md):

  data         steps       minutes                 GED    Dice soft   Dice rater   gap
  phantom      300 + 120   6.6, a slow machine     0.164  0.792       0.829        0.038
  phantom      480 + 200   8.3                     0.152  0.800       0.845        0.072
  lidc_slices  1600 + 400  16.5 (likewise)         0.168  0.816       0.839        0.044  (ranks)
  cfos_wue1    800 + 400   22 (likewise)           0.257  0.710       0.672        0.055

GED and Dice soft of stage 1, Dice rater and gap of stage 2. The ``paper`` scale has not been run.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  first, second = default.steps(argument)
  config = default.base('harmonized', argument)
  config.model = default.trunk(scale)
  config.model.update({'harmonizer': True, 'spectrum': 'fft', 'kl_weight': 1e-2})
  config.stages = ('diversify', 'personalize')
  config.stage.diversify = _diversify(first, 1e-3 if scale == 'cpu' else 1e-4)
  config.stage.personalize = _personalize(second, 3e-3 if scale == 'cpu' else 5e-5)
  config.evaluation.robustness_records = (
    2 if config.data.eval_crop == 'tile' else 64
  )  # large images
  return config


def _diversify(steps: int, learning_rate: float) -> ConfigDict:
  """Trunk, Harmonizer, prior, posterior and head."""
  stage = default.stage(steps, verb='sample', best_by='ged', learning_rate=learning_rate)
  stage.artifact_probability = 0.25
  stage.freeze = '^prompts/|/frozen_'  # pretrained norms stay as they are
  stage.method = ConfigDict(
    {
      'stage': 'diversify',
      'num_loss_samples': 8,
      'ged_weight': 0.5,
      'ged_ramp_steps': steps // 10,
      'consensus_weight': 2.0,
      'consistency_weight': 0.1,
      'penalty_weight': 1e-3,
    }
  )
  return stage


def _personalize(steps: int, learning_rate: float) -> ConfigDict:
  """The frequency prompts alone."""
  stage = default.stage(
    steps, verb='personalize', best_by='dice_rater', learning_rate=learning_rate
  )
  stage.freeze = '^(?!prompts/)'
  stage.method = ConfigDict({'stage': 'personalize', 'ged_weight': 0.1, 'bank_size': 100})
  return stage
