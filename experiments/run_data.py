"""The data set of a config, and the process behind a simulated one."""

from pathlib import Path

from ml_collections import ConfigDict

import tfds_builders
from experiments.config_checks import ConfigError
from multirater_jax.data import phantom
from multirater_jax.evaluate import Draw
from multirater_jax.experiment import Experiment


def prepare_data(config: ConfigDict) -> Path:
  """Builds the data set of the config, once, and returns its folder."""
  data = config.data
  options = {k: v for k, v in data.options.to_dict().items() if v is not None}
  if 'manual_dir' in data:
    if data.manual_dir is None:
      raise ConfigError(
        f'The data set {data.name} is not built in: give its folder by --config.data.manual_dir=...'
      )
    options['manual_dir'] = data.manual_dir
  return tfds_builders.prepare(data.name, data.data_dir, **options)


def true_process(experiment: Experiment) -> Draw | None:
  """Fresh annotations of test images, where the data set is simulated; None elsewhere."""
  if experiment.config.data.name != 'phantom':
    return None
  size = experiment.source.info.records[0]['size'][0]
  if size != experiment.config.data.eval_size:
    return None  # the draws would not lie on the cut images
  styles = phantom.make_styles(len(experiment.source.info.raters))

  def draw(names, num_samples):
    seeds = [phantom.scene_seed(name) for name in names]
    return phantom.fresh_samples(seeds, num_samples, 0, size=size, styles=styles)

  return draw
