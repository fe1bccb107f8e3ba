"""Surface scores do not know how a record was cut."""

from types import SimpleNamespace
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.data import crops
from multirater_jax.experiment import Experiment
from multirater_jax.metrics.surface import unit_surface_scores
from multirater_jax.scoring import Units
from multirater_jax.surfaces import Surfaces

SIZE, RATERS = (40, 52), 3


def experiment(spacing):
  fake = mock.MagicMock(spec=Experiment)
  fake.source = mock.MagicMock()
  fake.source.info = SimpleNamespace(records=[{'size': SIZE}], num_classes=2)
  fake.source.__getitem__.return_value = {'spacing': np.asarray(spacing, np.float32)}
  return fake


def disks(rng, number):
  rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
  centers = rng.integers(14, 26, (number, 2))
  radii = rng.integers(5, 11, number)
  return np.stack(
    [(rows - r) ** 2 + (columns - c) ** 2 <= n**2 for (r, c), n in zip(centers, radii, strict=True)]
  ).astype(np.uint8)


def tiles(size, margin):
  spans = [crops.tile_spans(length, size, margin) for length in SIZE]
  return [(down, across) for down in spans[0] for across in spans[1]]


def batch_of(masks, size, margin):
  rows = []
  for down, across in tiles(size, margin):
    at = (..., slice(down.start, down.start + size), slice(across.start, across.start + size))
    owned = [
      (s.begin <= np.arange(s.start, s.start + size)) & (np.arange(s.start, s.start + size) < s.end)
      for s in (down, across)
    ]
    rows.append((masks[at], np.logical_and.outer(*owned), (down.start, across.start)))
  cut, valid, corner = (np.stack(part) for part in zip(*rows, strict=True))
  number = len(rows)
  return {
    'masks': cut,
    'valid': valid,
    'corner': corner.astype(np.int32),
    'index': np.zeros(number, np.int32),
    'annotated': np.array([[True, True, False]] * number),
  }


@pytest.mark.parametrize(('size', 'margin'), [(16, 0), (16, 4), (32, 3)])
@pytest.mark.parametrize('personalized', [False, True])
def test_tiles_give_the_scores_of_the_whole(size, margin, personalized):
  rng = np.random.default_rng(size + margin)
  masks, outputs = disks(rng, RATERS), disks(rng, RATERS)
  batch = batch_of(masks, size, margin)
  probs = np.eye(2, dtype=np.float32)[batch_of(outputs, size, margin)['masks']]
  surfaces = Surfaces(experiment([0.5, 0.7]), personalized=personalized)
  surfaces.add(batch, jnp.asarray(probs))
  columns = surfaces.columns(Units(np.array([0]), np.array([0]), 'index'))
  whole = outputs if personalized else (outputs.sum(0) > RATERS / 2).astype(np.uint8)
  whole = whole.reshape(-1, *SIZE)
  expected = unit_surface_scores(whole, masks, batch['annotated'][0], (0.5, 0.7))
  ending = '_rater' if personalized else ''
  for name, value in expected._asdict().items():
    assert columns[name + ending][0] == pytest.approx(value, abs=1e-5)
  assert expected.hd95 > 0
