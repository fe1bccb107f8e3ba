"""DiffOSeg: categorical diffusion of a consensus, then of every rater's masks.

python -m experiments.main --config=experiments/configs/diffoseg.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, phantom, a shorter run (300 + 160 steps, 200 test images) beside other jobs:
GED 0.266 (stage 1, whose soft consensus makes samples too alike) and 0.191 (stage 2, samples),
Dice rater 0.808, gap 0.051.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  first, second = default.steps(argument)
  rate = 1e-3 if scale == 'cpu' else 1e-4
  config = default.base('diffoseg', argument)
  config.model = default.diffusion(scale)
  config.evaluation.update(default.diffusion_evaluation(scale))
  config.stages = ('consensus', 'preference')
  consensus = default.stage(first, verb='sample', best_by='ged', learning_rate=rate)
  consensus.method = ConfigDict({'stage': 'consensus', 'consensus': 'soft'})
  preference = default.stage(
    second, verb='personalize', best_by='dice_rater', learning_rate=rate, also=('sample',)
  )
  preference.method = ConfigDict({'stage': 'preference', 'personal_samples': 4})
  config.stage.consensus, config.stage.preference = consensus, preference
  return config
