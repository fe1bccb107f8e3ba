"""Probabilistic U-Net, the baseline of the latent family.

python -m experiments.main --config=experiments/configs/prob_unet.py:phantom  (lidc_slices, folder)

Measured 2026-11-21, 2 CPU cores beside other jobs: lidc_slices, 1600 steps, 8.4 minutes, GED 0.222,
Dice soft 0.824 (patient split, 16 samples); phantom, 480 steps,
GED 0.225; the other sets stand in docs/results.md. The ``paper`` scale
has not been run yet.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  config = default.base('prob_unet', argument)
  config.model = default.trunk(scale)
  config.model.kl_weight = 1e-3
  config.stages = ('diversify',)
  config.stage.diversify = default.stage(
    default.steps(argument)[0],
    verb='sample',
    best_by='ged',
    learning_rate=1e-3 if scale == 'cpu' else 1e-4,
  )
  return config
