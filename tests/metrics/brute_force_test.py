import brute
import cases
import numpy as np
import pytest

from multirater_jax.metrics import add_to_units, unit_scores

SHAPES = [
  cases.Shape(units=600, samples=1, raters=4),
  cases.Shape(units=600, samples=4, raters=1),
  cases.Shape(units=600, samples=4, raters=4),
  cases.Shape(units=12, samples=50, raters=4),
  cases.Shape(units=200, samples=4, raters=3, classes=4),
  cases.Shape(units=150, samples=3, raters=3, classes=3, depth=2),
]
TOLERANCE = {'ncc': 5e-6}


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_every_column_equals_brute_force(shape):
  probs, masks, drew = cases.random_units(1, shape)
  arrays, unit = cases.rows(probs, masks, drew)
  columns = unit_scores(add_to_units(cases.jit_count(*arrays), unit, shape.units))
  expected = [brute.scores(p.astype(np.float64), m, d) for p, m, d in zip(probs, masks, drew)]
  assert set(columns) - {'ece_adaptive'} == set(expected[0])
  for name in expected[0]:
    np.testing.assert_allclose(
      columns[name],
      [row[name] for row in expected],
      rtol=0,
      atol=TOLERANCE.get(name, 1e-6),
      err_msg=name,
    )


def test_personalized_columns_equal_brute_force():
  shape = SHAPES[-1]
  probs, masks, drew = cases.random_units(2, shape)
  arrays, unit = cases.rows(probs, masks, drew)
  counts = add_to_units(cases.jit_count(*arrays), unit, shape.units)
  columns = unit_scores(counts, counts)
  expected = [brute.personalized(p.astype(np.float64), m, d) for p, m, d in zip(probs, masks, drew)]
  for name in ('dice_rater', 'dice_rater_gap', 'area_bias'):
    values = np.array([row[name] for row in expected])
    for r in range(3):
      np.testing.assert_allclose(columns[f'{name}_{r + 1}'], values[:, r], rtol=0, atol=1e-6)
    seen = ~np.isnan(values).all(1)
    np.testing.assert_allclose(columns[name][seen], np.nanmean(values[seen], 1), rtol=0, atol=1e-6)
    assert np.isnan(columns[name][~seen]).all()
