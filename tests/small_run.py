"""A run on a few small images with a method that computes by rule: no training, exact answers.

Run as a program, it scores the images on the devices and processes it finds.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from experiments.configs import default
from multirater_jax import sharding
from multirater_jax.data import splits
from multirater_jax.experiment import Experiment, make_method, open_experiment
from multirater_jax.method import Method
from multirater_jax.methods import METHODS
from multirater_jax.metrics import unit_scores
from multirater_jax.scoring import count_records, make_counter, make_predict
from tfds_builders import prepare

SIZES = [(16, 16), (40, 24), (33, 20)]
RATERS = 3
NUM_IMAGES = 15  # three to a case


def by_rule(
  *, num_classes: int, num_raters: int, dtype: Any, harmonizer: bool = True, num_steps: int = 4
) -> Method:
  """Samples are the bright pixels, above a level drawn from the image's key.

  A "sampler" of fewer steps marks less.
  """
  del num_classes, num_raters, dtype

  def probs(image, levels):
    foreground = jax.nn.sigmoid(20 * (image[:, None, :, :, 0] - levels[..., None, None]))
    return jnp.stack([1 - foreground, foreground], -1)

  def sample(params, rngs, image, num_samples):
    levels = jax.vmap(lambda key: jax.random.uniform(key, (num_samples,)))(rngs)
    return probs(image, levels + (4 / num_steps - 1) + (params['level'] if harmonizer else 2.0))

  def personalize(params, rngs, image, style):
    del rngs
    levels = params['level'] + style @ (jnp.arange(style.shape[1]) / (2 * style.shape[1]))
    return probs(image, jnp.tile(levels, (len(image), 1)))

  return Method(lambda rng, batch: {'level': jnp.zeros(())}, lambda *_: None, sample, personalize)


def prepare_images(folder: Path) -> Path:
  """Noise with a bright box; rater r draws the box with r rows less, or was not there."""
  rng = np.random.default_rng(0)
  for name in ['images', *(f'rater_{r + 1}' for r in range(RATERS))]:
    (folder / 'manual' / name).mkdir(parents=True)
  for number in range(NUM_IMAGES):
    size = SIZES[number % len(SIZES)]
    name = f'p{number // 3}_{number}.png'
    image, box = rng.integers(0, 200, size, dtype=np.uint8), np.zeros(size, np.uint8)
    box[3 : 9 + number % 4, 2 : 12 + number % 3] = 255
    Image.fromarray(np.maximum(image, box // 2)).save(folder / 'manual' / 'images' / name)
    for rater in range(RATERS):
      if number % 5 != rater:
        mask = box * (number % 4 > 0)
        mask[: rater + 3] = 0
        Image.fromarray(mask).save(folder / 'manual' / f'rater_{rater + 1}' / name)
  return prepare('folder', folder / 'data', manual_dir=folder / 'manual', case_pattern=r'^(p\d+)_')


def open_small(
  directory: Path, workdir: Path, monkeypatch: Any = None, **changes: object
) -> Experiment:
  """The run; its test part is every image. ``changes`` are keys with ``__`` for each dot.

  Without ``monkeypatch`` the method stays listed, which only a program of its own may do.
  """
  if monkeypatch:
    monkeypatch.setitem(METHODS, 'by_rule', by_rule)
  else:
    METHODS['by_rule'] = by_rule
  config = default.base('by_rule', 'folder')
  config.data.update({'size': 16, 'eval_size': 48, 'eval_crop': 'center', 'eval_batch_size': 4})
  config.data.update({'percentiles': (), 'eval_margin': 0})
  config.evaluation.update({'num_samples': 4, 'panels': 6, 'robustness_samples': 2})
  config.stages = ('one', 'two')
  for stage, verb in (('one', 'sample'), ('two', 'personalize')):
    config.stage[stage] = ConfigDict({'verb': verb, 'method': {}})
  config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in changes.items()})
  experiment = open_experiment(config, workdir, directory)
  everything = splits.records_of(experiment.source.case_names, experiment.source.info.cases)
  return experiment._replace(records=experiment.records | {'test': everything})


def scores(experiment: Experiment, stage: str) -> dict[str, np.ndarray]:
  """All scores of all images."""
  verb = experiment.config.stage[stage].verb
  predict = make_predict(
    make_method(experiment, stage), verb=verb, num_samples=4, num_raters=RATERS
  )
  with jax.set_mesh(experiment.mesh):
    counter = make_counter(predict, {'level': np.float32(0.1)})
    counts = count_records(experiment, experiment.records['test'], counter, jax.random.key(7))
  return unit_scores(counts, counts if verb == 'personalize' else None)


if __name__ == '__main__':
  prepared, results, batch_size, *processes = sys.argv[1:]
  if processes:
    port, number = processes
    sharding.start('on', coordinator=f'127.0.0.1:{port}', num_processes=2, process_id=int(number))
  opened = open_small(Path(prepared), Path(results), data__eval_batch_size=int(batch_size))
  found = {
    f'{stage}|{k}': v for stage in opened.config.stages for k, v in scores(opened, stage).items()
  }
  if jax.process_index() == 0:
    np.savez(Path(results) / 'scores.npz', **found)
