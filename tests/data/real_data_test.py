"""Counts and facts of real sets, where they are at hand."""

import collections

import numpy as np
import pytest

from multirater_jax.data import splits
from multirater_jax.data.pipeline import eval_batches, train_stream
from multirater_jax.data.source import Source
from tfds_builders import prepare


@pytest.fixture(scope='module')
def build(shared, tmp_path_factory):
  data = tmp_path_factory.mktemp('real')
  return lambda builder, name, **options: Source(
    prepare(builder, data, manual_dir=shared(name), **options)
  )


def test_lidc_sample_has_its_slices_raters_and_patients(build):
  source = build('lidc_slices', 'lidc_sample', min_raters=0)
  outlined = collections.Counter(
    sum(area is not None for area in line['areas']) for line in source.info.records
  )
  assert outlined == {0: 1, 1: 205, 2: 125, 3: 110, 4: 164}
  assert len(source.case_names) == 31
  assert {tuple(line['size']) for line in source.info.records} == {(128, 128)}
  split = splits.hold_out(source.info.cases, validation=0.2, test=0.2, seed=0)
  splits.check_leak(split, source.info.cases)
  patients = [
    {line['name'].split('/')[0] for line in np.take(source.info.records, numbers)}
    for numbers in (splits.records_of(split[part], source.info.cases) for part in splits.PARTS)
  ]
  assert sum(map(len, patients)) == 31
  assert not set.intersection(*patients)


def test_cfos_has_five_experts_of_stable_style(build):
  source = build('folder', 'cfos_wue1')
  areas = np.array([line['areas'] for line in source.info.records], float)
  assert areas.shape == (24, 5)
  assert (areas.argmin(axis=1) == 0).all()
  relative = (areas / areas.mean(axis=1, keepdims=True)).mean(axis=0)
  assert relative[0] == pytest.approx(0.531, abs=0.002)
  batch = next(train_stream(source, np.arange(24), batch_size=4, size=128, seed=0))
  assert batch['masks'].shape == (4, 5, 128, 128)


def test_chase_has_two_observers_and_two_eyes_a_case(build):
  source = build('folder', 'chase_db1', case_pattern=r'Image_(\d+)')
  assert collections.Counter(collections.Counter(source.info.cases).values()) == {2: 10}
  total = 0
  for batch in eval_batches(source, np.arange(3), batch_size=8, size=256, crop='tile'):
    assert batch['image'].shape == (8, 256, 256, 3)
    total += batch['valid'].sum()
  assert total == 3 * 960 * 999


@pytest.mark.slow
def test_lidc_four_of_four_has_its_slices_and_patients(build):
  source = build('lidc_slices', 'lidc_slices_4of4.zip')
  assert len(source) == 4043
  assert len(source.case_names) == 457
  assert all(None not in line['areas'] for line in source.info.records)
