"""Export a trained run as programs that need JAX alone.

  python -m experiments.export --checkpoint=RUN --output=DIR [--stage=NAME] [--samples=16]

Writes sample.stablehlo, personalize.stablehlo (for CPU, CUDA and TPU, any batch size, parameters
included) and model.json (digests, raters, preprocessing). ``multirater_jax/exported.py`` runs them.
"""

from absl import flags

from experiments import command, model_flags
from multirater_jax.checkpoints import CheckpointError
from multirater_jax.data.errors import DataError
from multirater_jax.export import export

flags.adopt_module_key_flags(model_flags)


def run() -> int:
  """Exports the run and says where it lies."""
  output = model_flags.output()
  try:
    names = export(
      model_flags.checkpoint(),
      output,
      stage=model_flags.STAGE.value,
      num_samples=model_flags.SAMPLES.value,
    )
  except (CheckpointError, FileExistsError, ImportError) as error:
    raise DataError(str(error)) from error
  print(f'Exported {" and ".join(names)}: {output.resolve()}')
  return 0


if __name__ == '__main__':
  command.start(run)
