"""Annotator consensus: Gaussian diffusion of what at least c raters marked, for every c.

python -m experiments.main --config=experiments/configs/annotator_consensus.py:phantom

Data sets and scales as in ``default.py``.

It has not been trained yet: no score to expect can be given.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  config = default.base('annotator_consensus', argument)
  config.model = default.diffusion(scale)
  config.model.update({'parameterization': default.parameterization(scale), 'sampler': 'ddim'})
  config.evaluation.update(default.diffusion_evaluation(scale))
  config.stages = ('levels',)
  config.stage.levels = default.stage(
    default.steps(argument)[0],
    verb='sample',
    best_by='dice_soft',
    learning_rate=1e-3 if scale == 'cpu' else 1e-4,
  )
  return config
