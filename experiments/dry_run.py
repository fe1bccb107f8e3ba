"""One step of everything, with shapes, sizes and memory: is this config going to run?"""

import jax

from multirater_jax import sharding
from multirater_jax.experiment import Experiment, make_method, stage_key
from multirater_jax.method import image_keys
from multirater_jax.scoring import batches_of, count_probs, make_predict
from multirater_jax.train import fresh_state, step_function, training_stream
from multirater_jax.train_step import evaluated_params

_MIB = 2**20


def dry_run(experiment: Experiment) -> None:
  """Compiles and runs one training step and one prediction of every stage; writes nothing."""
  with jax.set_mesh(experiment.mesh):
    for stage in experiment.config.stages:
      _train_once(experiment, stage)
      _predict_once(experiment, stage)
  print('The dry run is done; nothing was written but the prepared data set.')


def _train_once(experiment: Experiment, stage: str) -> None:
  stream = training_stream(experiment, stage)
  batch = sharding.place_batch(experiment.mesh, next(stream))
  stream.close()
  state = sharding.place_replicated(experiment.mesh, fresh_state(experiment, stage))
  trained, frozen = (sum(v.size for v in part.values()) for part in (state.trained, state.frozen))
  step = step_function(experiment, stage).lower(state, stage_key(experiment, stage), batch)
  step = step.compile()
  print(f'Stage {stage}: {trained:,} trained and {frozen:,} frozen parameters')
  for name, value in batch.items():
    print(f'  {name:10} {value.dtype} {tuple(value.shape)}')
  _print_memory('training step', step)
  _, logs = step(state, stage_key(experiment, stage), batch)
  print('  ' + ', '.join(f'{name} {float(value):.4g}' for name, value in logs.items()))


def _predict_once(experiment: Experiment, stage: str) -> None:
  predict = make_predict(
    make_method(experiment, stage),
    verb=experiment.config.stage[stage].verb,
    num_samples=experiment.config.evaluation.num_samples,
    num_raters=len(experiment.source.info.raters),
  )
  local = next(iter(batches_of(experiment, experiment.records['test'])))
  batch = sharding.place_batch(experiment.mesh, local)
  keys = image_keys(stage_key(experiment, stage), batch['index'])
  state = sharding.place_replicated(experiment.mesh, fresh_state(experiment, stage))
  params = evaluated_params(state)
  compiled = predict.lower(params, keys, batch['image']).compile()
  _print_memory('prediction', compiled)
  probs = compiled(params, keys, batch['image'])
  count_probs(probs, batch)
  print(f'  predicts {tuple(probs.shape)}')


def _print_memory(name: str, compiled: jax.stages.Compiled) -> None:
  memory = compiled.memory_analysis()
  if memory is not None:
    total = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    print(f'  {name}: {total / _MIB:,.0f} MiB')
