"""Annotator consensus: Gaussian diffusion of what at least c raters marked, for every c.

python -m experiments.main --config=experiments/configs/annotator_consensus.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, 2 CPU cores beside other jobs (8 to 10 CPU minutes a run with scoring),
3 sampler steps, one run each: phantom, 480 steps, GED 0.192, Dice soft 0.787, ECE 0.016, two
samples differ by 0.298, two raters by 0.255; lidc_slices, 400 steps, GED 0.299; cfos_wue1, 400
steps, GED 0.309. GED with 2, 3, 5, 10, 25, 50, 250 sampler steps (48 images, 8 samples): phantom
0.181, 0.186, 0.190, 0.198, 0.215, 0.228, 0.236; lidc_slices 0.359, 0.356, 0.361, 0.362, 0.372,
0.391, 0.400.
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
