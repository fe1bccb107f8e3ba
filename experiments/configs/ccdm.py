"""CCDM: categorical diffusion of a random rater's mask, sampled in few steps.

python -m experiments.main --config=experiments/configs/ccdm.py:phantom

Data sets and scales as in ``default.py``.

No run of this config has been scored yet.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  config = default.base('ccdm', argument)
  config.model = default.diffusion(scale)
  config.evaluation.update(default.diffusion_evaluation(scale))
  config.stages = ('diversify',)
  config.stage.diversify = default.stage(
    default.steps(argument)[0],
    verb='sample',
    best_by='ged',
    learning_rate=1e-3 if scale == 'cpu' else 1e-4,
  )
  return config
