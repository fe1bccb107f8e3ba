"""What a stage is judged by while it trains: scores, speed of its outputs, a picture."""

import math
import time
from typing import Any

import jax
import numpy as np

from multirater_jax import sharding
from multirater_jax.experiment import Experiment, make_method, stage_key
from multirater_jax.method import image_keys
from multirater_jax.metrics import unit_scores
from multirater_jax.report import mosaic
from multirater_jax.scoring import batches_of, count_records, make_counter, make_predict


class Validator:
  """Scores parameters on the first ``evaluation.validation_records`` of the validation part."""

  def __init__(self, experiment: Experiment, stage: str):
    options = experiment.config.evaluation
    self._experiment, self._options = experiment, experiment.config.stage[stage]
    self._records = experiment.records['validation'][: options.validation_records]
    self._rng = jax.random.fold_in(stage_key(experiment, stage), 2)
    self._rates: list[float] = []
    self._predict = make_predict(
      make_method(experiment, stage),
      verb=self._options.verb,
      num_samples=options.validation_samples,
      num_raters=len(experiment.source.info.raters),
    )
    self._folder = experiment.workdir / 'sanity'
    self._stage = stage

  def scores(self, params: Any) -> dict[str, float]:
    """Means of all scores, and ``outputs_per_second``: samples or rater maps, median of batches."""
    self._rates.clear()
    counter = make_counter(self._timed, params)
    counts = count_records(self._experiment, self._records, counter, self._rng)
    columns = unit_scores(counts, counts if self._options.verb == 'personalize' else None)
    means = {name: float(np.nanmean(v)) for name, v in columns.items() if not np.isnan(v).all()}
    return means | {'outputs_per_second': float(np.median(self._rates))}

  def draw(self, params: Any, step: int) -> None:
    """Writes ``sanity/<stage>-<step>.png``, so that a black or frozen output is seen early.

    All processes take part, the first one writes.
    """
    experiment = self._experiment
    records = self._records[: experiment.config.data.eval_batch_size]
    batch = sharding.place_batch(experiment.mesh, next(iter(batches_of(experiment, records))))
    probs = self._predict(params, image_keys(self._rng, batch['index']), batch['image'])
    shown = (batch['image'], batch['masks'], batch['annotated'], probs)
    parts = [sharding.local_rows(part) for part in shown]
    if jax.process_index() == 0:
      self._folder.mkdir(exist_ok=True)
      mosaic.write(self._folder / f'{self._stage}-{step:06d}.png', *parts)

  def choosing(self, scores: dict[str, float]) -> float:
    """The score that chooses the best checkpoint."""
    return scores.get(self._options.best_by, math.nan)

  def _timed(self, params, keys, image):
    start = time.perf_counter()
    probs = jax.block_until_ready(self._predict(params, keys, image))
    self._rates.append(probs.shape[0] * probs.shape[1] / (time.perf_counter() - start))
    return probs
