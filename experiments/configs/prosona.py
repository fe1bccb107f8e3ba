"""ProSona: the Probabilistic U-Net, then a mapper from prompts to mixtures of its prior samples.

python -m experiments.main --config=experiments/configs/prosona.py:phantom

Data sets and scales as in ``default.py``. What prompts do to a trained run:
python -m experiments.prompts --workdir=runs/prosona-phantom

Measured 2026-11-21, phantom, 480 + 200 steps, one run, 400 test images: GED 0.214 (stage 1), Dice
rater 0.808, gap 0.056. Area rises over five prompts from "conservative outline, excludes the halo"
to "generous outline, includes the halo" in all images (179 to 339 pixels on average), and the five
held-out paraphrases of each level, new mixtures of mostly known words, keep the order of the levels
in all images; without the contrasts (one run on the same first stage) in 82 %.
Prompts for a ragged outline change nothing (54 % above smooth in the 115 images where raters
differ): the first stage's prior holds area (R^2 0.58 of a linear map of the code, within images)
but no outline (0.01), and a mapper can only choose what the prior offers.
"""

from ml_collections import ConfigDict, config_dict

from experiments.configs import default


def get_config(argument: str = 'phantom') -> ConfigDict:
  _, scale = default.parse(argument)
  first, second = default.steps(argument)
  cpu = scale == 'cpu'
  config = default.base('prosona', argument)
  config.model = default.trunk(scale)
  config.model.update({'kl_weight': 1e-3, 'text_dim': 256})
  config.model.text_encoder = config_dict.placeholder(
    str
  )  # folder of a sentence-transformers model
  config.stages = ('diversify', 'personalize')
  diversify = default.stage(
    first, verb='sample', best_by='ged', learning_rate=1e-3 if cpu else 1e-4
  )
  diversify.freeze = '^prompts/|/frozen_'  # pretrained norms stay as they are
  diversify.method = ConfigDict({'stage': 'diversify'})
  personalize = default.stage(
    second, verb='personalize', best_by='dice_rater', learning_rate=3e-3 if cpu else 1e-4
  )
  personalize.freeze = '^(?!prompts/)'
  personalize.method = ConfigDict(
    {'stage': 'personalize', 'bank_size': 100, 'contrast_weight': 0.1}
  )
  config.stage.diversify, config.stage.personalize = diversify, personalize
  return config
