"""D-Persona: bound loss over prior samples, then one query a rater into a bank of them.

python -m experiments.main --config=experiments/configs/dpersona.py:phantom

Data sets and scales as in ``default.py``.

Measured 2026-11-21, phantom, 480 + 200 steps, one run beside others (6.6 minutes of CPU time): GED
0.209 (stage 1), Dice rater 0.842, gap 0.067 (stage 2). The
short runs on other sets stand in docs/results.md.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  first, second = default.steps(argument)
  cpu = scale == 'cpu'
  config = default.base('dpersona', argument)
  config.model = default.trunk(scale)
  # A query is a mean over space: averaged features serve it, and each rater costs a fraction.
  config.model.update({'kl_weight': 1e-2, 'head_pool': 4 if cpu else 2})
  config.stages = ('diversify', 'personalize')
  diversify = default.stage(
    first, verb='sample', best_by='ged', learning_rate=1e-3 if cpu else 1e-4
  )
  diversify.freeze = '^raters/|/frozen_'  # pretrained norms stay as they are
  diversify.method = ConfigDict({'stage': 'diversify', 'num_bound_samples': 10})
  personalize = default.stage(
    second, verb='personalize', best_by='dice_rater', learning_rate=3e-3 if cpu else 1e-4
  )
  personalize.freeze = '^(?!raters/)'
  personalize.method = ConfigDict({'stage': 'personalize', 'bank_size': 100})
  config.stage.diversify, config.stage.personalize = diversify, personalize
  return config
