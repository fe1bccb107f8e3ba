import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run

from multirater_jax.data import rows
from multirater_jax.experiment import make_method
from multirater_jax.method import image_keys
from multirater_jax.metrics import add_to_units, count
from multirater_jax.scoring import count_records, make_counter, make_predict, units_of

PARAMS = {'level': np.float32(0.1)}
RNG = jax.random.key(7)


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  return small_run.prepare_images(tmp_path_factory.mktemp('set'))


@pytest.fixture
def opened(directory, tmp_path, monkeypatch):
  """Opens the run with changes of its config."""
  return lambda **changes: small_run.open_small(directory, tmp_path, monkeypatch, **changes)


def predictor(experiment, stage='one'):
  return make_predict(
    make_method(experiment, stage),
    verb=experiment.config.stage[stage].verb,
    num_samples=4,
    num_raters=small_run.RATERS,
  )


def counted(experiment, stage='one', records=None):
  records = experiment.records['test'] if records is None else records
  counter = make_counter(predictor(experiment, stage), PARAMS)
  with jax.set_mesh(experiment.mesh):
    return count_records(experiment, records, counter, RNG)


def one_by_one(experiment, *, by_case):
  """Counts of each whole image, in the order of the records, without batches, tiles or padding."""
  predict, counts = predictor(experiment), []
  for index in experiment.records['test']:
    record = experiment.source[int(index)]
    image = rows.to_float(record['image'], record['limits'])[None]
    unit = record['case'] if by_case else index
    probs = predict(PARAMS, image_keys(RNG, jnp.array([unit])), image)
    counts.append(count(probs, record['masks'][None], record['annotated'][None]))
  return jax.tree.map(lambda *parts: np.concatenate(parts).astype(np.float64), *counts)


def without_blocks(counts):
  """Where a pixel lies in its image decides which block its moments go to; only sums matter."""
  return counts._replace(correlation=jax.tree.map(lambda x: x.sum(-1), counts.correlation))


def assert_same(ours, theirs, *, exactly=False):
  tolerance = {} if exactly else {'rtol': 1e-5, 'atol': 1e-3}
  check = np.testing.assert_array_equal if exactly else np.testing.assert_allclose
  jax.tree.map(lambda a, b: check(a, b, **tolerance), ours, theirs)


def test_images_are_counted_once_each(opened):
  experiment = opened()
  units = units_of(experiment, experiment.records['test'])
  assert units.column == 'index'
  assert units.numbers.tolist() == list(range(small_run.NUM_IMAGES))
  cases = [experiment.source.case_names[number] for number in units.case]
  assert cases == [experiment.source.info.cases[number] for number in units.numbers]
  assert_same(
    without_blocks(counted(experiment)), without_blocks(one_by_one(experiment, by_case=False))
  )


def test_the_images_of_a_case_add_up(opened):
  experiment = opened(data__score_by='case')
  units = units_of(experiment, experiment.records['test'])
  assert units.column == 'case'
  assert units.numbers.tolist() == units.case.tolist() == list(range(5))
  single = one_by_one(experiment, by_case=True)
  cases = np.array([experiment.source[int(i)]['case'] for i in experiment.records['test']])
  expected = add_to_units(single, cases, 5)
  assert_same(without_blocks(counted(experiment)), without_blocks(expected))


@pytest.mark.parametrize('score_by', ['image', 'case'])
def test_tiles_give_the_counts_of_the_whole_image(opened, score_by):
  whole = counted(opened(data__score_by=score_by))
  for margin in (0, 3):
    tiled = opened(
      data__score_by=score_by, data__eval_crop='tile', data__eval_size=16, data__eval_margin=margin
    )
    assert_same(without_blocks(counted(tiled)), without_blocks(whole))


@pytest.mark.parametrize('stage', ['one', 'two'])
def test_the_batch_size_does_not_matter(opened, stage):
  expected = counted(opened(data__eval_batch_size=4), stage)
  for size in (1, 7):
    ours = counted(opened(data__eval_batch_size=size), stage)
    assert_same(ours.pairs, expected.pairs, exactly=True)
    assert_same(ours, expected)


def test_the_other_records_do_not_matter(opened):
  experiment = opened()
  everything = counted(experiment)
  some = counted(experiment, records=np.array([3, 4, 11]))
  assert_same(some, jax.tree.map(lambda x: x[[3, 4, 11]], everything))


def test_distorted_images_are_predicted_and_the_true_masks_counted(opened):
  experiment = opened()
  dark = make_counter(predictor(experiment), PARAMS, lambda keys, image: 0 * image - 9)
  with jax.set_mesh(experiment.mesh):
    counts = count_records(experiment, experiment.records['test'], dark, RNG)
  clean = counted(experiment)
  assert counts.pairs.samples.sum() == 0 < clean.pairs.samples.sum()
  np.testing.assert_array_equal(counts.pairs.raters, clean.pairs.raters)
