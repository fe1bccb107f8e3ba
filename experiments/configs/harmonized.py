"""Harmonized: diversify with a Harmonizer and a GED loss, then personalize by frequency prompts.

python -m experiments.main --config=experiments/configs/harmonized.py
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  name, scale = default.parse(argument)
  config = default.base('harmonized', argument)
  config.model = default.trunk(scale)
  config.model.update({'harmonizer': True, 'spectrum': 'fft', 'kl_weight': 1e-3})
  first, second = {'cpu': (600, 240), 'paper': (34_000, 34_000)}[scale]
  config.stages = ('diversify', 'personalize')
  stage = default.stage(
    first, verb='sample', best_by='ged', learning_rate=1e-3 if scale == 'cpu' else 1e-4
  )
  stage.artifact_probability = 0.5
  stage.freeze = '^prompts/'
  stage.method = ConfigDict(
    {'stage': 'diversify', 'ged_weight': 0.5, 'ged_ramp_steps': first // 10, 'num_loss_samples': 8}
  )
  config.stage.diversify = stage
  stage = default.stage(
    second, verb='personalize', best_by='dice_rater', learning_rate=3e-3 if scale == 'cpu' else 5e-5
  )
  stage.freeze = '^(?!prompts/)'
  stage.method = ConfigDict({'stage': 'personalize', 'ged_weight': 0.1, 'bank_size': 100})
  config.stage.personalize = stage
  config.evaluation.robustness_records = 64
  return config
