import time

import jax.numpy as jnp
import pytest

from multirater_jax.train_log import NotFiniteError, Window, collapse


def test_a_line_holds_means_speed_and_waiting():
  window = Window(batch_size=8)
  with window.waiting():
    time.sleep(0.05)
  window.add(1, {'loss': jnp.float32(1), 'kl': jnp.float32(0)})
  time.sleep(0.05)
  window.add(2, {'loss': jnp.float32(3), 'kl': jnp.float32(1)})
  line = window.close()
  assert line['loss'] == 2 and line['kl'] == 0.5
  assert 0 < line['images_per_second'] < 2 * 8 / 0.1
  assert 0.05 < line['data_wait_share'] < 1


def test_every_line_starts_anew():
  window = Window(batch_size=1)
  time.sleep(0.2)
  window.restart()
  window.add(1, {'loss': 1.0})
  assert window.close()['images_per_second'] > 5.5
  window.add(2, {'loss': 5.0})
  line = window.close()
  assert line['loss'] == 5 and line['data_wait_share'] == 0


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_the_first_term_that_is_not_finite_is_named(value):
  window = Window(batch_size=1)
  window.add(6, {'loss': 1.0, 'kl': 2.0})
  window.add(7, {'loss': 1.0, 'kl': jnp.float32(value)})
  window.add(8, {'loss': float('nan'), 'kl': 1.0})
  with pytest.raises(NotFiniteError, match=f'Step 7: the term "kl" is {value}'):
    window.close()


def test_a_collapsed_posterior_is_told():
  assert collapse({'loss': 1.0}) is None
  assert collapse({'active_dims': 0.6}) is None
  assert '0.1 active latent dimensions' in collapse({'active_dims': 0.1})
