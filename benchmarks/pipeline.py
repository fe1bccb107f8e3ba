"""How many images a second the host delivers, and how long a training step waits for them.

  python -m benchmarks.pipeline            2,600 phantom images of 128 x 128 with 4 raters
  python -m benchmarks.pipeline --quick    400 of them

``first pass`` reads, unpacks, crops, flips and batches; in later ones the unpacked records are in
memory. ``per CPU second`` is what other work on the machine disturbs less. The waiting is that of
``prob_unet`` (CPU scale, 64 x 64) with the stream that trains it.
"""

import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks import measure
from benchmarks.configured import training
from multirater_jax.data.pipeline import prefetch, train_stream
from multirater_jax.data.source import Source
from tfds_builders import prepare

BATCH = 16


def rates(directory: Path, size: int, number: int) -> measure.Rows:
  """Images a second of both passes, with one and two threads."""
  rows = []
  for name, megabytes in (('first pass', 0), ('later passes', 2048)):
    for threads in (1, 2):
      source = Source(directory, cache_mb=megabytes)
      if megabytes:
        for index in range(len(source)):
          source[index]  # fills the cache
      stream = train_stream(
        source,
        np.arange(len(source)),
        batch_size=BATCH,
        size=size,
        seed=0,
        num_threads=threads,
      )
      next(stream)
      wall, cpu = time.perf_counter(), time.process_time()
      for _ in range(number // BATCH):
        next(stream)
      wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
      stream.close()
      images = number // BATCH * BATCH
      rows.append(
        {
          'pass': name,
          'threads': threads,
          'images/s': images / wall,
          'per CPU second': images / cpu,
        }
      )
  return rows


def waiting(directory: Path, steps: int) -> measure.Rows:
  """The share of training that is waiting for the next batch."""
  source = Source(directory)
  stream = train_stream(source, np.arange(len(source)), batch_size=BATCH, size=64, seed=0)
  batches = prefetch(stream, lambda batch: jax.tree.map(jax.numpy.asarray, batch))
  first, _ = next(batches)
  state, step = training('prob_unet', 0, first)
  state, _ = jax.block_until_ready(step(state, jax.random.key(1), first))
  waited, start = 0.0, time.perf_counter()
  for _ in range(steps):
    before = time.perf_counter()
    batch, _ = next(batches)
    waited += time.perf_counter() - before
    state, _ = jax.block_until_ready(step(state, jax.random.key(1), batch))
  seconds = time.perf_counter() - start
  stream.close()
  return [{'steps': steps, 'images/s': BATCH * steps / seconds, 'waiting': waited / seconds}]


def main() -> None:
  """Prepares the set, once, and measures."""
  options = measure.parser(__doc__).parse_args()
  number, steps = (400, 5) if options.quick else (2600, 40)
  with tempfile.TemporaryDirectory() as folder:
    made = {'num_images': number, 'num_raters': 4, 'seed': 0}
    large = prepare('phantom', folder, size=128, **made)
    small = prepare('phantom', folder, size=64, **made)
    measure.run(
      [
        ('Images of 128 x 128 with 4 masks', lambda: rates(large, 128, number)),
        ('Waiting of a training step', lambda: waiting(small, steps)),
      ],
      options.output,
    )


if __name__ == '__main__':
  main()
