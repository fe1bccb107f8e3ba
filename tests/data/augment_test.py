import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.data.augment import augment

SIZE = 40
ALL = {
  'rotation': 25.0,
  'scale': 0.2,
  'elastic': 3.0,
  'brightness': 0.1,
  'contrast': 0.3,
  'gamma': 0.4,
  'noise': 0.05,
}


def ramps(number, height=SIZE, width=SIZE):
  """An image whose two channels say the row and the column, and masks that say the same."""
  row, column = np.meshgrid(np.arange(height), np.arange(width), indexing='ij')
  image = np.stack([row, column], axis=-1).astype(np.float32) / 256
  masks = np.stack([row, column]).astype(np.uint8)
  return np.stack([image] * number), np.stack([masks] * number)


def draw(seed, image, masks, **amplitudes):
  keys = jax.random.split(jax.random.key(seed), image.shape[0])
  return jax.jit(partial(augment, **amplitudes))(keys, jnp.asarray(image), jnp.asarray(masks))


def sources(seed, number=8, size=SIZE, **amplitudes):
  """Where the pixels came from, in pixels from the center, and where they are."""
  image, masks = ramps(number, size, size)
  moved, _ = draw(seed, image, masks, probability=1.0, **amplitudes)
  center = (size - 1) / 2
  return np.asarray(moved) * 256 - center, image * 256 - center


def test_zero_amplitudes_return_the_input():
  image, masks = ramps(3)
  moved, moved_masks = draw(0, image, masks, probability=1.0)
  np.testing.assert_array_equal(moved, image)
  np.testing.assert_array_equal(moved_masks, masks)


def test_probability_zero_returns_the_input():
  image, masks = ramps(3)
  moved, moved_masks = draw(0, image, masks, probability=0.0, **ALL)
  np.testing.assert_array_equal(moved, image)
  np.testing.assert_array_equal(moved_masks, masks)


@pytest.mark.parametrize('height, width', [(40, 40), (33, 56)])
def test_image_and_every_mask_follow_the_same_map(height, width):
  image, masks = ramps(8, height, width)
  amplitudes = {'rotation': 30.0, 'scale': 0.3, 'elastic': 4.0}
  moved, moved_masks = draw(1, image, masks, probability=1.0, **amplitudes)
  assert moved.shape == image.shape and moved_masks.shape == masks.shape
  distance = np.asarray(moved_masks, np.float32) - np.moveaxis(np.asarray(moved), -1, 1) * 256
  assert np.abs(distance).max() <= 0.5 + 1e-3
  assert np.mean(np.asarray(moved_masks) != masks) > 0.5


def test_rotation_keeps_the_distance_to_the_center_and_its_bound():
  source, target = sources(2, rotation=20.0)
  radius = np.hypot(*np.moveaxis(target, -1, 0))
  inside = (radius < SIZE / 2 - 1) & (radius > 5)
  np.testing.assert_allclose(
    np.hypot(*np.moveaxis(source, -1, 0))[inside], radius[inside], atol=1e-3
  )
  cross = source[..., 0] * target[..., 1] - source[..., 1] * target[..., 0]
  angle = np.rad2deg(np.arcsin(cross / np.maximum(radius, 1) ** 2))
  angles = [np.median(a[i]) for a, i in zip(angle, inside, strict=True)]
  assert 3 < np.ptp(angles) and np.abs(angles).max() <= 20
  assert all(np.ptp(a[i]) < 0.1 for a, i in zip(angle, inside, strict=True))


def test_scale_is_one_factor_within_its_bound():
  source, target = sources(3, scale=0.25)
  inside = (np.abs(target) < SIZE / 2.6) & (np.abs(target) > 2)
  factors = [t[i] / s[i] for s, t, i in zip(source, target, inside, strict=True)]
  assert all(np.ptp(f) < 1e-2 for f in factors)
  medians = np.array([np.median(f) for f in factors])
  assert medians.min() > 1 / 1.25 - 1e-3 and medians.max() < 1.25 + 1e-3 and np.ptp(medians) > 0.1


def test_elastic_moves_pixels_smoothly_and_less_than_its_amplitude():
  source, target = sources(4, elastic=3.0, elastic_spacing=10)
  shift = source - target
  assert 0.5 < np.abs(shift).max() <= 3.0 + 1e-3
  center = shift[:, 5:-5, 5:-5]
  assert np.abs(np.diff(center, axis=1)).max() < 0.7
  assert center.std(axis=(1, 2)).min() > 0.05


def test_masks_keep_type_and_classes():
  image, _ = ramps(6)
  masks = np.random.default_rng(0).choice([0, 2, 5], (6, 3, SIZE, SIZE)).astype(np.uint8)
  _, moved = draw(5, image, masks, probability=1.0, **ALL)
  assert moved.dtype == jnp.uint8
  assert set(np.unique(moved)) == {0, 2, 5}


def test_intensity_changes_leave_the_masks_and_stay_in_range():
  image, masks = ramps(6)
  kinds = {k: 3 * ALL[k] for k in ('brightness', 'contrast', 'gamma', 'noise')}
  for kind, amplitude in kinds.items():
    moved, moved_masks = draw(6, image, masks, probability=1.0, **{kind: amplitude})
    assert moved.dtype == jnp.float32
    assert 0 <= moved.min() and moved.max() <= 1
    assert np.all(np.abs(np.asarray(moved) - image).max((1, 2, 3)) > 0), kind
    np.testing.assert_array_equal(moved_masks, masks)


def test_probability_is_the_share_of_changed_images():
  image, masks = ramps(200, 8, 8)
  moved, _ = draw(7, image, masks, rotation=30.0, probability=0.25)
  changed = np.any(np.asarray(moved) != image, axis=(1, 2, 3)).mean()
  assert 0.15 < changed < 0.35


def test_result_depends_on_the_key_of_the_image_only():
  image, masks = ramps(5)
  keys = jax.random.split(jax.random.key(8), 5)
  change = jax.jit(partial(augment, probability=1.0, **ALL))
  moved, moved_masks = change(keys, image, masks)
  again, _ = change(keys, image, masks)
  np.testing.assert_array_equal(moved, again)
  alone, alone_masks = change(keys[3:4], image[:1], masks[:1])
  np.testing.assert_allclose(alone[0], moved[3], atol=1e-6)
  np.testing.assert_array_equal(alone_masks[0], moved_masks[3])
  assert np.abs(np.asarray(moved[0]) - np.asarray(moved[1])).max() > 0.01


SHARDED = """
import jax, jax.numpy as jnp
from functools import partial
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from multirater_jax.data.artifacts import simulate
from multirater_jax.data.augment import augment

def step(keys, image, masks):
  image, masks = augment(keys, image, masks, rotation=20, scale=.2, elastic=3, brightness=.1,
                         contrast=.2, gamma=.2, noise=.05)
  return image, masks, simulate(keys, image)

mesh = Mesh(jax.devices(), ('data',))
shard = NamedSharding(mesh, PartitionSpec('data'))
batch = (jax.random.split(jax.random.key(0), 16), jnp.ones((16, 32, 32, 1)),
         jnp.ones((16, 4, 32, 32), jnp.uint8))
batch = jax.tree.map(lambda x: jax.device_put(x, shard), batch)
compiled = jax.jit(step, out_shardings=shard).lower(*batch).compile()
text = compiled.as_text()
print([n for n in ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute') if n in text])
print(compiled(*batch)[0].sharding == shard)
"""


def test_no_device_talks_to_another():
  flags = {'XLA_FLAGS': '--xla_force_host_platform_device_count=8', 'JAX_PLATFORMS': 'cpu'}
  run = subprocess.run(
    [sys.executable, '-c', SHARDED],
    cwd=Path(__file__).parents[2],
    env=os.environ | flags,
    capture_output=True,
    text=True,
    check=False,
  )
  assert run.returncode == 0, run.stderr
  assert run.stdout.split('\n')[:2] == ['[]', 'True']
