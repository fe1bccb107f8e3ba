"""Annotator consensus: Gaussian diffusion of what at least c raters marked, for every c.

python -m experiments.main --config=experiments/configs/annotator_consensus.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, phantom, 480 steps, 2 CPU cores beside other jobs, one run: GED 0.204, Dice
soft 0.769, ECE 0.016; two samples differ by 0.320, two raters by 0.255. GED with 2, 5, 10, 25, 50
sampler steps (24 images, 8 samples): 0.152, 0.164, 0.175, 0.191, 0.201. No other data set was
tried.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  config = default.base('annotator_consensus', argument)
  config.model = default.diffusion(scale)
  config.model.update(default.gaussian(scale))
  config.evaluation.update(default.diffusion_evaluation(scale))
  config.stages = ('levels',)
  config.stage.levels = default.stage(
    default.steps(argument)[0],
    verb='sample',
    best_by='dice_soft',
    learning_rate=1e-3 if scale == 'cpu' else 1e-4,
  )
  return config
