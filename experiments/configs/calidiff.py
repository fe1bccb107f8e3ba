"""CaliDiff, a design of ours after the abstract: joint Gaussian diffusion of all raters' masks.

python -m experiments.main --config=experiments/configs/calidiff.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, 2 CPU cores beside other jobs (10 to 13 CPU minutes a run with scoring),
3 sampler steps, one run each: phantom, 480 steps, GED 0.194, Dice rater 0.798, gap 0.048, ECE
0.0144, Brier 0.0053; lidc_slices, 400 steps, GED 0.367, Dice rater 0.648, gap 0.014; cfos_wue1, 400
steps, GED 0.335, Dice rater 0.537, gap 0.025, ECE 0.0071. On the phantom that is better calibrated
than ``prob_unet`` (0.0164, 0.0076); against ``diffoseg`` (0.0116, 0.0054) its ECE is worse and its
Brier score alike; ``pionono`` (0.0104, 0.0045) beats all three. GED with 2, 3, 5, 10, 25, 50, 250
sampler steps (48 images, 8 samples): phantom 0.190, 0.193, 0.195, 0.205, 0.227, 0.234, 0.241;
lidc_slices 0.428, 0.423, 0.431, 0.432, 0.437, 0.446, 0.472.
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
