import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.networks.frequency_prompts import SPECTRA, FrequencyPrompts
from multirater_jax.networks.spectral import fourier_band

RATERS, LATENT = 3, 2


def key():
  return jax.random.key(0, impl='unsafe_rbg')


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


FEATURES, BANK = normal(0, 2, 8, 12, 7), normal(1, 2, 5, LATENT)


def make(spectrum, **arguments):
  sizes = {'components': 4, 'channels': 6} | arguments
  return FrequencyPrompts(RATERS, LATENT, spectrum, **sizes)


@pytest.fixture(scope='module', params=SPECTRA)
def case(request):
  """Head, fresh parameters, changed parameters, compiled call."""
  module = make(request.param)
  fresh = jax.jit(module.init)(key(), FEATURES, BANK, jnp.eye(RATERS))
  rng = np.random.default_rng(2)
  params = jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape).astype(np.float32), fresh)
  return module, fresh, params, jax.jit(module.apply)


def test_one_code_a_rater_and_pixel(case):
  _, _, params, run = case
  codes = run(params, FEATURES, BANK, jnp.eye(RATERS))
  assert codes.shape == (2, RATERS, 8, 12, LATENT) and codes.dtype == jnp.float32
  assert np.isfinite(codes).all()
  assert np.abs(codes[:, 0] - codes[:, 1]).max() > 1e-2


def test_scan_over_raters_is_one_rater_at_a_time(case):
  _, _, params, run = case
  style = normal(3, RATERS, RATERS)
  codes = run(params, FEATURES, BANK, style)
  for rater in range(RATERS):
    alone = run(params, FEATURES, BANK, style[rater : rater + 1])
    np.testing.assert_allclose(alone[:, 0], codes[:, rater], atol=1e-5)


def test_a_mixture_of_raters_is_the_mixture_of_their_numbers(case):
  _, _, params, run = case
  style = jnp.asarray([[0.25, 0.75, 0.0], [0.0, -1.0, 2.0], [0.0, 0.0, 0.0]])
  codes = run(params, FEATURES, BANK, style)
  own = {name: style @ params['params'][name] for name in ('coefficients', 'offsets')}
  renamed = {'params': params['params'] | own}
  np.testing.assert_allclose(run(renamed, FEATURES, BANK, jnp.eye(RATERS)), codes, atol=1e-5)


def test_codes_start_as_convex_mixes_of_the_bank(case):
  _, fresh, params, run = case
  low, high = BANK.min(1)[:, None, None, None], BANK.max(1)[:, None, None, None]
  codes = run(fresh, FEATURES, BANK, jnp.eye(RATERS))
  assert (codes >= low - 1e-5).all() and (codes <= high + 1e-5).all()
  codes = run(params, FEATURES, BANK, jnp.eye(RATERS))
  assert (codes < low).any() or (codes > high).any()  # later they may leave it


def test_gradient_reaches_every_parameter(case):
  module, _, params, _ = case
  target = normal(4, 2, RATERS, 8, 12, LATENT)

  def loss(params):
    return jnp.mean((module.apply(params, FEATURES, BANK, jnp.eye(RATERS)) - target) ** 2)

  for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    assert np.isfinite(leaf).all(), name
    idle = module.spectrum == 'none' and name.endswith('coefficients')  # nothing to weigh
    assert np.any(leaf != 0) != idle, name


def test_results_of_an_image_do_not_depend_on_its_neighbors(case):
  _, _, params, run = case
  codes = run(params, FEATURES, BANK, jnp.eye(RATERS))
  swapped = run(params, FEATURES[::-1], BANK[::-1], jnp.eye(RATERS))
  np.testing.assert_allclose(swapped[::-1], codes, atol=1e-5)


@pytest.mark.parametrize('spectrum', ['fft', 'haar'])
def test_without_prompts_the_band_comes_back_whole(spectrum):
  """With no change of the band and an open gate, all spectra are the same head."""
  module, plain = make(spectrum), make('none')
  params = jax.jit(module.init)(key(), FEATURES, BANK, jnp.eye(RATERS))
  params['params']['prompts'] *= 0
  names = jax.eval_shape(plain.init, key(), FEATURES, BANK, jnp.eye(RATERS))['params']
  kept = {'params': {name: params['params'][name] for name in names}}
  one = jax.jit(module.apply)(params, FEATURES, BANK, jnp.eye(RATERS))
  two = jax.jit(plain.apply)(kept, FEATURES, BANK, jnp.eye(RATERS))
  np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.xfail(strict=True, reason='softplus makes the initial 0.05 a width of 0.72')
def test_cut_off_starts_at_the_edge_of_the_low_band():
  params = jax.jit(make('fft').init)(key(), FEATURES, BANK, jnp.eye(RATERS))['params']
  width = jax.nn.softplus(params['cutoff_width'])
  band = fourier_band((8, 8), params['cutoff'], width)
  kept = band.inverse(band.forward(jnp.ones((1, 8, 8, 1))))
  assert np.abs(kept).max() < 0.1


def test_compute_dtype_leaves_parameters_and_codes_float32():
  module = make('fft', dtype=jnp.bfloat16)
  features = FEATURES.astype(jnp.bfloat16)
  codes, params = jax.eval_shape(module.init_with_output, key(), features, BANK, jnp.eye(RATERS))
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
  assert codes.dtype == jnp.float32


@pytest.mark.parametrize('spectrum', ['fft', 'haar'])
def test_memory_does_not_grow_with_the_number_of_raters(spectrum):
  """A gradient for 64 raters takes what it takes for 4, and the codes of 60 more, within 20 %."""
  module = make(spectrum, channels=16)
  features, bank = normal(0, 2, 16, 16, 16), normal(1, 2, 20, LATENT)
  params = jax.eval_shape(module.init, key(), features, bank, jnp.eye(RATERS))

  def loss(params, style):
    return jnp.sum(module.apply(params, features, bank, style) ** 2)

  def compiled(raters):
    style = jax.ShapeDtypeStruct((raters, RATERS), jnp.float32)
    return jax.jit(jax.grad(loss)).lower(params, style).compile()

  few, many = compiled(4), compiled(64)
  assert ' while(' in many.as_text()
  size = [program.memory_analysis().temp_size_in_bytes for program in (few, many)]
  codes = 4 * 2 * 16 * 16 * LATENT  # bytes of the codes of one rater
  assert size[1] - size[0] < 0.2 * size[0] + 60 * codes
