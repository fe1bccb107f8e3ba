"""How few sampler steps are enough: GED of the first test records against their number."""

from typing import Any

import jax

from multirater_jax.experiment import Experiment, make_method, stage_key
from multirater_jax.metrics import bootstrap, unit_scores
from multirater_jax.scoring import count_records, make_counter, make_predict, units_of
from multirater_jax.workdir import write_json


def write_step_curve(experiment: Experiment, stage: str, params: Any) -> None:
  """Writes ``evaluation/step_curve.json``: GED with its interval for each of ``step_counts``.

  The same ``step_records`` records, ``step_samples`` samples and keys for every number of steps;
  ``used`` marks the number that the model samples with elsewhere.
  """
  options = experiment.config.evaluation
  records = experiment.records['test'][: options.step_records]
  rng = jax.random.fold_in(stage_key(experiment, stage), 5)
  cases = units_of(experiment, records).case
  used = experiment.config.model.num_steps
  lines = []
  with jax.set_mesh(experiment.mesh):
    for number in sorted({*options.step_counts, used}):
      predict = make_predict(
        make_method(experiment, stage, num_steps=number),
        verb='sample',
        num_samples=options.step_samples,
        num_raters=len(experiment.source.info.raters),
      )
      counter = make_counter(predict, params)
      what = f'{number} sampler steps'
      counts = count_records(experiment, records, counter, rng, what=what)
      ged = bootstrap.interval(unit_scores(counts)['ged'], cases)._asdict()
      lines.append({'steps': number, 'used': number == used, 'records': len(records), 'ged': ged})
  if jax.process_index() == 0:
    write_json(experiment.workdir / 'evaluation' / 'step_curve.json', lines)
