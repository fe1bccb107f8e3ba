"""Annotator consensus: Gaussian diffusion of what at least c raters marked, for every c.

python -m experiments.main --config=experiments/configs/annotator_consensus.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, 2 CPU cores beside other jobs (8 to 13 CPU minutes a run with scoring), 3
ancestral steps, one run each: phantom, 480 steps, GED 0.199, Dice soft 0.796, ECE 0.0153, Brier
0.0048, two samples differ by 0.259, two raters by 0.255; lidc_slices, 400 steps, GED 0.324;
cfos_wue1, 400 steps, GED 0.323. GED on the phantom with 2, 3, 5, 10, 25, 250 sampler steps (48
images, 8 samples): 0.185, 0.197, 0.216, 0.232, 0.251, 0.273.
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
