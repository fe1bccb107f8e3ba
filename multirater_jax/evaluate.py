"""Scores of the whole test split: every stage of the model, and bounds to read them by."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from multirater_jax import sharding
from multirater_jax.experiment import Experiment, Output, make_method, outputs_of, stage_key
from multirater_jax.metrics import bounds, unit_scores
from multirater_jax.score_tables import Row
from multirater_jax.scoring import count_probs, count_records, make_predict, units_of
from multirater_jax.surfaces import Surfaces

# (record names, number of samples) -> fresh masks [b s h w] of the true process
Draw = Callable[[Sequence[str], int], np.ndarray]


def evaluate(
  experiment: Experiment, stages: dict[str, Any], *, samples: Draw | None = None
) -> list[Row]:
  """Scores every stage, given with its parameters, and the bounds on the test split.

  ``samples`` draws from the true process, where it is known, for the bound ``oracle``.
  """
  records = experiment.records['test']
  with jax.set_mesh(experiment.mesh):
    rows = [
      score_output(experiment, output, stages[output.stage], records)
      for output in outputs_of(experiment.config)
    ]
    return rows + bound_rows(experiment, records, samples)


def score_output(experiment: Experiment, output: Output, params: Any, records: np.ndarray) -> Row:
  """Scores of a stage's samples, or of its personalized maps taken as samples."""
  personalized = output.verb == 'personalize'
  predict = make_predict(
    make_method(experiment, output.stage),
    verb=output.verb,
    num_samples=experiment.config.evaluation.num_samples,
    num_raters=len(experiment.source.info.raters),
  )
  rng = jax.random.fold_in(stage_key(experiment, output.stage), 3)
  surfaces = Surfaces(experiment, personalized=personalized)

  def counter(batch, keys):
    probs = predict(params, keys, batch['image'])
    surfaces.add(batch, probs)
    return count_probs(probs, batch)

  counts = count_records(experiment, records, counter, rng, what=output.label)
  scores = unit_scores(
    counts, counts if personalized else None, experiment.config.evaluation.protocol
  )
  scores |= surfaces.columns(units_of(experiment, records))
  return Row(output.label, 'model', scores, counts, counts if personalized else None)


def bound_rows(experiment: Experiment, records: np.ndarray, samples: Draw | None) -> list[Row]:
  """``raters``: each against the others; ``mean field``: right marginals, no shape; ``oracle``."""
  info, options = experiment.source.info, experiment.config.evaluation
  rng = jax.random.key(experiment.config.seed)

  def row(label, counter, repeat=1):
    counts = count_records(experiment, records, counter, rng, repeat=repeat)
    scores = unit_scores(counts, None, options.protocol)
    scores = bounds.rater_scores(scores, repeat) if repeat > 1 else scores
    return Row(label, 'bound', scores)

  def rater(batch, keys):
    del keys
    return _rater_counts(
      batch['masks'], batch['annotated'], batch['valid'], num_classes=info.num_classes
    )

  def mean_field(batch, keys):
    probs = _mean_field(
      keys, batch['masks'], batch['annotated'], options.num_samples, info.num_classes
    )
    return count_probs(probs, batch)

  def oracle(batch, keys):
    del keys
    index = sharding.local_rows(batch['index'])
    names = [info.records[max(i, 0)]['name'] for i in index]
    masks = samples(names, options.num_samples)
    return count_probs(jax.nn.one_hot(masks, info.num_classes), batch)

  rows = [row('raters', rater, len(info.raters)), row('mean field', mean_field)]
  return rows + ([row('oracle', oracle)] if samples else [])


_rater_counts = jax.jit(bounds.rater_counts, static_argnames='num_classes')
_mean_field = jax.jit(bounds.mean_field, static_argnums=(3, 4))
