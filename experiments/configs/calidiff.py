"""CaliDiff, a design of ours after the abstract: joint Gaussian diffusion of all raters' masks.

python -m experiments.main --config=experiments/configs/calidiff.py:phantom

Data sets and scales as in ``default.py``.

It has not been trained yet: no score to expect can be given, calibration least of all.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  steps = default.steps(argument)[0]
  config = default.base('calidiff', argument)
  config.model = default.diffusion(scale)
  del config.model.num_loss_draws  # the raters of an image are its draws
  config.model.update({'parameterization': default.parameterization(scale), 'sampler': 'ddim'})
  config.evaluation.update(default.diffusion_evaluation(scale))
  config.stages = ('joint',)
  config.stage.joint = default.stage(
    steps,
    verb='sample',
    best_by='ged',
    learning_rate=1e-3 if scale == 'cpu' else 1e-4,
    also=('personalize',),
  )
  config.stage.joint.method = ConfigDict({'warmup_steps': steps // 5, 'personal_samples': 4})
  return config
