"""CaliDiff, a design of ours after the abstract: joint Gaussian diffusion of all raters' masks.

python -m experiments.main --config=experiments/configs/calidiff.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, phantom, 480 steps, 2 CPU cores beside other jobs, one run: GED 0.205, Dice
rater 0.787, gap 0.050, ECE 0.0144, Brier 0.0053. That is better calibrated than ``prob_unet``
(0.0164, 0.0076); against ``diffoseg`` (0.0116, 0.0054) its ECE is worse and its Brier score alike;
``pionono`` (0.0104, 0.0045) beats all three. GED with 2, 5, 10, 25, 50 sampler steps: 0.172, 0.180,
0.187, 0.205, 0.214.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  steps = default.steps(argument)[0]
  config = default.base('calidiff', argument)
  config.model = default.diffusion(scale)
  del config.model.num_loss_draws  # the raters of an image are its draws
  config.model.update(default.gaussian(scale))
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
