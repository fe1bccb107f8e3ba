"""Probabilistic U-Net, the baseline of the latent family.

python -m experiments.main --config=experiments/configs/prob_unet.py:phantom
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  name, scale = default.parse(argument)
  config = default.base('prob_unet', argument)
  config.model = default.trunk(scale)
  config.model.kl_weight = 1e-3
  steps = {'cpu': 600, 'paper': 34_000}[scale]
  config.stages = ('diversify',)
  config.stage.diversify = default.stage(
    steps, verb='sample', best_by='ged', learning_rate=1e-3 if scale == 'cpu' else 1e-4
  )
  return config
