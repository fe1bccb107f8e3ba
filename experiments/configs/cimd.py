"""CIMD: Gaussian diffusion of a random rater's mask, with a latent code for what is ambiguous.

python -m experiments.main --config=experiments/configs/cimd.py:phantom

Data sets and scales as in ``default.py``.

It has not been trained yet: no score to expect can be given.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  config = default.base('cimd', argument)
  config.model = default.trunk(scale)
  config.model.update(default.diffusion(scale))
  config.model.update(
    {'parameterization': default.parameterization(scale), 'sampler': 'ddim', 'kl_weight': 1e-3}
  )
  config.evaluation.update(default.diffusion_evaluation(scale))
  config.stages = ('diversify',)
  config.stage.diversify = default.stage(
    default.steps(argument)[0],
    verb='sample',
    best_by='ged',
    learning_rate=1e-3 if scale == 'cpu' else 1e-4,
  )
  return config
