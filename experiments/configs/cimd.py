"""CIMD: Gaussian diffusion of a random rater's mask, with a latent code for what is ambiguous.

python -m experiments.main --config=experiments/configs/cimd.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, phantom, 480 steps, 2 CPU cores beside other jobs, one run: GED 0.200, Dice
soft 0.757, ECE 0.018; two samples differ by 0.359, two raters by 0.255. GED with 2, 5, 10, 25, 50
sampler steps (24 images, 8 samples): 0.150, 0.152, 0.155, 0.160, 0.165. No other data set was
tried.
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
