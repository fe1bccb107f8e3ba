"""A trained run in research code, step by step: python docs/use_a_run.py runs/pionono-phantom."""

import sys

import jax
import numpy as np

import multirater_jax as mr

# A run knows its method, its raters and how its intensities are scaled.
model = mr.load(sys.argv[1])
print('raters:', ', '.join(model.raters))

# An image as a file of the data set would hold it: any size, one channel or several.
rows, columns = np.mgrid[:150, :200]
disk = np.hypot(rows - 70, columns - 110) < 18
image = (60 + 120 * disk + np.random.default_rng(0).normal(0, 12, disk.shape)).clip(0, 255)
image = image.astype(np.uint8)

# Plausible masks, [s h w k] probabilities; the same seed gives the same masks.
samples = model.sample(image, num_samples=8, seed=0)
areas = samples.argmax(-1).astype(bool).sum((1, 2))
print('area of the samples:', areas.tolist())

# Everything at once: samples, rater maps, and what follows from them.
prediction = model.predict(image, num_samples=8)
print('consensus area:', int((1 - prediction.consensus[..., 0] > 0.5).sum()))
print(f'entropy up to {prediction.entropy.max():.2f} nats')

if model.method.personalize is not None:
  # In the manner of named raters, or of a mixture: a row of style holds a weight a rater.
  own = model.personalize(image, raters=[1, 2])
  print('areas of raters 1 and 2:', (own.argmax(-1) > 0).sum((1, 2)).tolist())
  width = len(model.raters)
  halves = np.full((1, width), 1 / width, np.float32)
  mixed = model.personalize(image, style=halves)
  print('area of their mixture:', int((mixed.argmax(-1) > 0).sum()))

# The parts are plain: a method of pure functions and a tree of arrays to put anything around.
window = np.zeros((1, model.size, model.size, 1), np.float32)
keys = jax.random.split(jax.random.key(0), 1)
brightness = jax.grad(lambda x: model.method.sample(model.params, keys, x, 2)[..., 1:].sum())(
  window
)
print('gradient of the foreground with respect to an image:', brightness.shape)
