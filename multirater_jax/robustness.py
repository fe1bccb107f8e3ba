"""How scores fall under fixed image artefacts, with a part of the method on and off."""

from typing import Any

import jax

from multirater_jax.data.artifacts import CONDITIONS
from multirater_jax.experiment import Experiment, make_method, stage_key
from multirater_jax.metrics import bootstrap, unit_scores
from multirater_jax.scoring import count_records, make_counter, make_predict, units_of
from multirater_jax.workdir import write_json

_SCORES = ('ged', 'dice_soft', 'dice_match')


def write_robustness(experiment: Experiment, stage: str, params: Any) -> None:
  """Writes ``evaluation/robustness.json``: clean and every condition, Harmonizer on and off.

  Runs on the first ``evaluation.robustness_records`` test records; off means that the trained
  parameters of the Harmonizer are not applied.
  """
  options = experiment.config.evaluation
  records = experiment.records['test'][: options.robustness_records]
  rng = jax.random.fold_in(stage_key(experiment, stage), 4)
  cases, lines = units_of(experiment, records).case, []
  with jax.set_mesh(experiment.mesh):
    for harmonizer in (True, False):
      predict = make_predict(
        make_method(experiment, stage, **({} if harmonizer else {'harmonizer': False})),
        verb='sample',
        num_samples=options.robustness_samples,
        num_raters=len(experiment.source.info.raters),
      )
      for name, change in {'clean': None, **CONDITIONS}.items():
        distort = change and jax.jit(jax.vmap(change))
        counter = make_counter(predict, params, distort)
        scores = unit_scores(count_records(experiment, records, counter, rng))
        means = {s: bootstrap.interval(scores[s], cases).mean for s in _SCORES}
        lines.append({'condition': name, 'harmonizer': harmonizer, 'scores': means})
  if jax.process_index() == 0:
    write_json(experiment.workdir / 'evaluation' / 'robustness.json', lines)
