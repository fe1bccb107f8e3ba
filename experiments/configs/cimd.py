"""CIMD: Gaussian diffusion of a random rater's mask, with a latent code for what is ambiguous.

python -m experiments.main --config=experiments/configs/cimd.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, 2 CPU cores beside other jobs (8 to 13 CPU minutes a run with scoring), 3
ancestral steps, one run each: phantom, 480 steps, GED 0.201, Dice soft 0.786, ECE 0.0175, Brier
0.0062, two samples differ by 0.296, two raters by 0.255; lidc_slices, 400 steps, GED 0.355;
cfos_wue1, 400 steps, GED 0.365. GED on the phantom with 2, 3, 5, 10, 25, 250 sampler steps (48
images, 8 samples): 0.192, 0.191, 0.203, 0.212, 0.234, 0.252.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  config = default.base('cimd', argument)
  config.model = default.trunk(scale)
  config.model.update(default.diffusion(scale))
  config.model.update(default.gaussian(scale))
  config.model.kl_weight = 1e-3
  config.evaluation.update(default.diffusion_evaluation(scale))
  config.stages = ('diversify',)
  config.stage.diversify = default.stage(
    default.steps(argument)[0],
    verb='sample',
    best_by='ged',
    learning_rate=1e-3 if scale == 'cpu' else 1e-4,
  )
  return config
