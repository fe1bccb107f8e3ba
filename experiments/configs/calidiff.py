"""CaliDiff, a design of ours after the abstract: joint Gaussian diffusion of all raters' masks.

python -m experiments.main --config=experiments/configs/calidiff.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, 2 CPU cores beside other jobs (8 to 13 CPU minutes a run with scoring), 3
ancestral steps, one run each: phantom, 480 steps, GED 0.205, Dice soft 0.796, Dice rater 0.803, gap
0.050, ECE 0.0133, Brier 0.0052, two samples differ by 0.266, two raters by 0.255; lidc_slices, 400
steps, GED 0.400, Dice rater 0.656, gap 0.014; cfos_wue1, 400 steps, GED 0.368, Dice rater 0.554,
gap 0.031. GED on the phantom with 2, 3, 5, 10, 25, 250 sampler steps (48 images, 8 samples): 0.193,
0.202, 0.204, 0.214, 0.240, 0.272. Calibration on the phantom is better than that of ``prob_unet``
(ECE 0.0164, Brier 0.0076); beside ``diffoseg`` (0.0116, 0.0054) its ECE is worse and its Brier
score a little better; ``pionono`` (0.0104, 0.0045) beats all three.
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
