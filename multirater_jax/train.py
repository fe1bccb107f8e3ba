"""The one training loop, over the stages of a config. It knows no method and no stage by name."""

import contextlib
import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from multirater_jax import interrupts, sharding
from multirater_jax.checkpoints import CheckpointError, Checkpoints
from multirater_jax.data.pipeline import TrainStream, prefetch, train_stream
from multirater_jax.experiment import Experiment, make_method, stage_key
from multirater_jax.method import Batch
from multirater_jax.metric_log import MetricLog
from multirater_jax.networks.resnet import load_torchvision
from multirater_jax.optimizer import make_optimizer
from multirater_jax.progress import Progress
from multirater_jax.train_log import Window, collapse
from multirater_jax.train_step import TrainState, create_state, evaluated_params, make_train_step
from multirater_jax.validation import Validator


class Stopped(Exception):
  """Training ended before its last step, with its state saved; ``code`` is the exit status."""

  def __init__(self, reason: str, code: int):
    super().__init__(reason)
    self.code = code


class Clock(NamedTuple):
  """When the run must end: a signal, or the wall-clock budget."""

  interrupts: interrupts.Interrupts
  deadline: float  # seconds of time.monotonic, or infinity

  def reason(self) -> tuple[str, int] | None:
    """Why to stop now, with the exit status, the same in all processes; None to go on."""
    if signal := sharding.largest(self.interrupts.signal or 0):
      return f'received signal {signal}', interrupts.exit_code(signal)
    if sharding.largest(int(time.monotonic() > self.deadline)):
      return 'the time budget max_minutes is used up', 0
    return None


def train(experiment: Experiment) -> dict[str, Any]:
  """Trains every stage that is not finished yet; returns each stage's best parameters.

  Raises:
    Stopped: a signal came or the time budget ended; the state is saved, the same call goes on.
    NotFiniteError: a loss term is not finite; names the step and the term.
  """
  config = experiment.config
  minutes = config.max_minutes
  deadline = time.monotonic() + 60 * minutes if minutes else math.inf
  params, results, offset = None, {}, 0
  with interrupts.Interrupts() as caught, jax.set_mesh(experiment.mesh):
    clock = Clock(caught, deadline)
    for stage in config.stages:
      params = _train_stage(experiment, stage, params, offset, clock)
      results[stage] = params
      offset += config.stage[stage].steps
    reason = clock.reason()
    if reason and reason[1]:  # a signal during the last step; the budget is one for training alone
      raise Stopped(*reason)
  return results


def best_params(experiment: Experiment, stage: str) -> Any:
  """The averaged parameters of a finished stage's best checkpoint on the validation split.

  Raises CheckpointError where the stage is not trained to its end.
  """
  with _checkpoints(experiment, stage) as checkpoints:
    if checkpoints.newest_valid() != experiment.config.stage[stage].steps:
      raise CheckpointError(
        f'Stage "{stage}" in {experiment.workdir} is not finished; run --mode=train first.'
      )
    template = jax.eval_shape(lambda: fresh_state(experiment, stage))
    state, _ = checkpoints.restore(template, checkpoints.best_valid())
  return evaluated_params(state)


def _checkpoints(experiment: Experiment, stage: str) -> Checkpoints:
  return Checkpoints(
    experiment.workdir / 'checkpoints' / stage,
    lower_is_better=experiment.config.stage[stage].lower_is_better,
  )


def _optimizer(experiment: Experiment, stage: str) -> optax.GradientTransformation:
  options = experiment.config.stage[stage]
  return make_optimizer(steps=options.steps, **options.optimizer.to_dict())


def fresh_state(experiment: Experiment, stage: str, earlier: Any = None) -> TrainState:
  """The state of a stage before its first step."""
  # The quick generator: threefry's many small kernels take five times longer to compile.
  seed = jax.random.bits(jax.random.fold_in(stage_key(experiment, stage), 0))
  return create_state(
    make_method(experiment, stage),
    _optimizer(experiment, stage),
    jax.random.key(seed, impl='unsafe_rbg'),
    _example(experiment),
    freeze=experiment.config.stage[stage].freeze,
    encoder=_pretrained(experiment) if earlier is None else None,
    earlier=earlier,
  )


def _pretrained(experiment: Experiment) -> Any:
  path = experiment.config.pretrained
  return load_torchvision(path, experiment.channels) if path else None


def step_function(experiment: Experiment, stage: str) -> Callable:
  """The compiled training step of a stage; it consumes the state it is given."""
  options = experiment.config.stage[stage]
  step = make_train_step(
    make_method(experiment, stage),
    _optimizer(experiment, stage),
    ema_decay=options.ema_decay,
    augmentation=experiment.config.augment.to_dict(),
    artifact_probability=options.artifact_probability,
  )
  return jax.jit(step, donate_argnums=0)


def _example(experiment: Experiment) -> Batch:
  """A batch of zeros, for shapes."""
  size, info = experiment.config.data.size, experiment.source.info
  raters = len(info.raters)
  return {
    'image': jnp.zeros((1, size, size, experiment.channels)),
    'masks': jnp.zeros((1, raters, size, size), jnp.uint8),
    'annotated': jnp.ones((1, raters), bool),
    'case': jnp.zeros((1,), jnp.int32),
    'index': jnp.zeros((1,), jnp.int32),
  }


def training_stream(experiment: Experiment, stage: str) -> TrainStream:
  """The batches of a stage, from the first; this process's rows."""
  data = experiment.config.data
  return train_stream(
    experiment.source,
    experiment.records['train'],
    batch_size=sharding.check_batch(data.batch_size),
    size=data.size,
    crop=data.crop,
    seed=experiment.config.seed + experiment.config.stages.index(stage),
    num_threads=data.num_threads,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )


def _train_stage(
  experiment: Experiment, stage: str, earlier: Any, offset: int, clock: Clock
) -> Any:
  """Trains one stage from its newest checkpoint to its end; returns its best parameters."""
  options = experiment.config.stage[stage]
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(_checkpoints(experiment, stage))
    newest = checkpoints.newest_valid()
    if newest == options.steps:
      return best_params(experiment, stage)
    state = fresh_state(experiment, stage, earlier)
    stream = stack.enter_context(contextlib.closing(training_stream(experiment, stage)))
    if newest is not None:
      state, meta = checkpoints.restore(state, newest)
      stream.set_state(meta['stream'])
    log = stack.enter_context(MetricLog(experiment.workdir, resume_step=offset + (newest or 0)))
    loop = _Loop(experiment, stage, offset, checkpoints, log, clock)
    loop.run(sharding.place_replicated(experiment.mesh, state), stream)
  return best_params(experiment, stage)


class _Loop(NamedTuple):
  """What the steps of one stage share."""

  experiment: Experiment
  stage: str
  offset: int  # steps of the stages before
  checkpoints: Checkpoints
  log: MetricLog
  clock: Clock

  def run(self, state: TrainState, stream: TrainStream) -> None:
    """Steps until the stage ends, or saves and raises ``Stopped``."""
    options = self.experiment.config.stage[self.stage]
    rng = jax.random.fold_in(stage_key(self.experiment, self.stage), 1)
    validator = Validator(self.experiment, self.stage)
    step_fn = step_function(self.experiment, self.stage)
    place = functools.partial(sharding.place_batch, self.experiment.mesh)
    batches = prefetch(stream, place, depth=2)
    first, window = int(state.step), Window(self.experiment.config.data.batch_size)
    if not first:
      validator.draw(evaluated_params(state), 0)
    with Progress(self.stage, first, options.steps) as progress:
      for step in range(first + 1, options.steps + 1):
        with window.waiting():
          batch, position = next(batches)
        state, logs = step_fn(state, rng, batch)
        window.add(step, logs)
        last, whole = step == options.steps, step % options.checkpoint_every == 0
        speak = step % options.log_every == 0 or whole or last
        reason = self.clock.reason() if speak or jax.process_count() == 1 else None
        if speak or reason:
          values = window.close()
        if speak:
          self.log.write(self.offset + step, 'train', self.stage, values)
          progress.update(step, values)
        if whole or last or reason:
          if message := collapse(values):
            progress.say(message)
          metric = self._validate(validator, state, step) if whole or last else None
          self._save(step, state, position, metric)
          window.restart()
        if reason and not last:
          raise Stopped(*reason)

  def _validate(self, validator: Validator, state: TrainState, step: int) -> float:
    """Logs the scores and draws the picture of a step; returns what chooses the best one."""
    params = evaluated_params(state)
    scores = validator.scores(params)
    self.log.write(self.offset + step, 'validation', self.stage, scores)
    validator.draw(params, step)
    return validator.choosing(scores)

  def _save(self, step: int, state: TrainState, position: Any, metric: float | None) -> None:
    self.log.flush()
    meta = {
      'stage': self.stage,
      'stream': position,
      'data': self.experiment.source.info.hash,
      'frozen': bool(state.frozen),
    }
    self.checkpoints.save(step, state, meta, metric)
