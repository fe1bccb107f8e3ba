import numpy as np
import pytest

from multirater_jax.diffusion.schedules import SCHEDULES, make_schedule, spaced

every_schedule = pytest.mark.parametrize('name', SCHEDULES)


@every_schedule
@pytest.mark.parametrize('steps', [10, 250, 1000])
def test_nothing_is_lost_at_first_and_nearly_all_at_last(name, steps):
  abar = make_schedule(name, steps)
  assert abar.shape == (steps + 1,) and abar.dtype == np.float64
  assert abar[0] == 1 and 0 < abar[-1] < 1e-3
  assert (np.diff(abar) < 0).all()


def test_cosine_follows_its_curve_up_to_the_clipped_last_step():
  abar = make_schedule('cosine', 250)
  u = np.arange(251) / 250
  f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
  np.testing.assert_allclose(abar[:-1], (f / f[0])[:-1], rtol=1e-12)
  assert abar[-1] / abar[-2] == pytest.approx(1e-3)


def test_linear_betas_are_those_of_the_paper_at_1000_steps():
  abar = make_schedule('linear', 1000)
  np.testing.assert_allclose(1 - abar[1:] / abar[:-1], np.linspace(1e-4, 0.02, 1000), rtol=1e-9)


@pytest.mark.parametrize('count', [1, 2, 7, 10])
def test_spaced_steps_rise_from_nothing_to_the_end(count):
  steps = spaced(10, count)
  assert len(steps) == count + 1 and steps[0] == 0 and steps[-1] == 10
  assert (np.diff(steps) >= 1).all()


def test_what_cannot_be_built_is_named():
  with pytest.raises(ValueError, match='no schedule "square"; choose one of cosine, linear'):
    make_schedule('square', 10)
  for count in (0, 11):
    with pytest.raises(ValueError, match='give 1 to 10'):
      spaced(10, count)
