import numpy as np
import pytest
import small_run

from multirater_jax.panels import write_panels
from multirater_jax.score_tables import Row

STAGES = {'one': {'level': np.float32(0.1)}, 'two': {'level': np.float32(0.2)}}


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  return small_run.prepare_images(tmp_path_factory.mktemp('set'))


def panels_of(directory, tmp_path, monkeypatch, units=15, **changes):
  experiment = small_run.open_small(directory, tmp_path, monkeypatch, **changes)
  (tmp_path / 'evaluation').mkdir(exist_ok=True)
  ged = np.random.default_rng(0).permutation(units) / 10.0
  write_panels(experiment, STAGES, [Row('stage 1: one', 'model', {'ged': ged})])
  with np.load(tmp_path / 'evaluation' / 'panels.npz', allow_pickle=False) as file:
    return experiment, ged, dict(file)


def test_typical_best_and_worst_images_with_a_mark(directory, tmp_path, monkeypatch):
  experiment, ged, panels = panels_of(directory, tmp_path, monkeypatch)
  assert panels['kind'].tolist() == ['typical'] * 2 + ['best'] * 2 + ['worst'] * 2
  info = experiment.source.info
  marked = [n for n, record in enumerate(info.records) if sum(a or 0 for a in record['areas'])]
  order = sorted(marked, key=lambda n: ged[n])
  assert 0 < len(marked) < len(info.records)
  numbers = [[record['name'] for record in info.records].index(name) for name in panels['name']]
  assert numbers[2:] == [*order[:2], *order[:-3:-1]]
  assert order[0] not in numbers[:2] and order[-1] not in numbers[:2]
  np.testing.assert_allclose(panels['ged'], ged[numbers], rtol=1e-6)
  for row, number in enumerate(numbers):
    assert panels['annotated'][row].tolist() == experiment.source[number]['annotated'].tolist()
    assert panels['masks'][row].any()


def test_samples_consensus_and_uncertainty_agree(directory, tmp_path, monkeypatch):
  _, _, panels = panels_of(directory, tmp_path, monkeypatch)
  size = (6, 48, 48)
  assert panels['samples'].shape == (6, 4, 48, 48) and panels['personalized'].shape == (
    6,
    3,
    48,
    48,
  )
  for name in ('consensus', 'entropy', 'disagreement'):
    assert panels[name].shape == size and panels[name].dtype == np.float32
  sure = panels['entropy'] < 1e-3
  rounded = panels['consensus'].round()
  assert sure.any() and (panels['samples'].mean(1)[sure] == rounded[sure]).all()
  assert (panels['entropy'] <= np.log(2) + 1e-6).all()
  assert (panels['disagreement'] <= 0.25 + 1e-6).all()
  areas = panels['personalized'].sum((0, 2, 3))
  assert areas[0] > areas[1] > areas[2] > 0  # the rule raises the level with the rater


@pytest.mark.parametrize(('score_by', 'units'), [('image', 15), ('case', 5)])
def test_of_tiles_the_one_with_most_foreground_is_shown(
  directory, tmp_path, monkeypatch, score_by, units
):
  tiled = {'data__eval_crop': 'tile', 'data__eval_size': 16, 'data__score_by': score_by}
  _, _, panels = panels_of(directory, tmp_path, monkeypatch, units, **tiled)
  assert panels['image'].shape[1:] == (16, 16, 1)
  assert panels['masks'].any((1, 2, 3)).all()
  assert len(panels['kind']) == (6 if units > 5 else 3)
