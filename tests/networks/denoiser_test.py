import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax.diffusion_family import bind_output, init_params, make_network
from multirater_jax.networks.attention import SelfAttention
from multirater_jax.networks.denoiser import Denoiser, sinusoid
from multirater_jax.networks.prompt_bank import PromptBank

SMALL = {'widths': (8, 16), 'patch': 2, 'time_width': 16}
RATERS = 3


def key(seed=0):
  return jax.random.key(seed, impl='unsafe_rbg')


def noise(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def moved(params):
  """Away from the zeros that hide what lies before them."""
  leaves, tree = jax.tree.flatten(params)
  return tree.unflatten([leaf + 0.1 * noise(*leaf.shape, seed=n) for n, leaf in enumerate(leaves)])


def start(net, **inputs):
  return moved(jax.jit(net.init)(key(), **inputs)), jax.jit(net.apply)


def inputs(rows=2, *, h=16, w=24, condition=None):
  return {
    'x': noise(rows, h, w, 2),
    't': jnp.arange(1, rows + 1),
    'features': noise(rows, h // 2, w // 2, 8, seed=1),
    **({} if condition is None else {'condition': condition}),
  }


def test_sinusoids_tell_times_apart_and_have_length_one():
  waves = sinusoid(jnp.array([0, 1, 500]), 8)
  assert waves.shape == (3, 8)
  np.testing.assert_allclose(waves[0], [1, 1, 1, 1, 0, 0, 0, 0])
  np.testing.assert_allclose(waves[1, 4:], np.sin(10000.0 ** -(np.arange(4) / 4)), rtol=1e-5)
  np.testing.assert_allclose((waves[:, :4] ** 2 + waves[:, 4:] ** 2), 1, rtol=1e-5)


@pytest.mark.parametrize(('patch', 'blocks', 'attention'), [(1, 1, 0), (2, 2, 1), (4, 1, 2)])
def test_output_has_the_size_of_the_input_and_starts_at_zero(patch, blocks, attention):
  net = Denoiser(3, (8, 16), blocks=blocks, attention=attention, patch=patch)
  x, t = noise(2, 16, 24, 2), jnp.array([1, 9])
  out, params = jax.jit(net.init_with_output)(key(), x, t, noise(2, 16 // patch, 24 // patch, 8))
  assert out.shape == (2, 16, 24, 3) and not out.any()
  names = {name for name, part in params['params'].items() if 'attention' in part}
  assert len(names) == (2 * blocks * attention + 1 if attention else 0)


def test_everything_that_goes_in_matters_and_rows_do_not_meet():
  net = Denoiser(2, **SMALL)
  given = inputs(condition=noise(2, RATERS))
  params, apply = start(net, **given)
  out = apply(params, **given)
  for name in given:
    other = apply(params, **given | {name: given[name][::-1]})
    assert np.abs(other - out).max() > 1e-3, name
  alone = apply(params, **{name: value[1:] for name, value in given.items()})
  np.testing.assert_allclose(alone[0], out[1], atol=1e-5)


def test_the_condition_enters_linearly():
  """Its part of the time embedding, which the blocks then see through one SiLU."""
  net = Denoiser(2, **SMALL)
  styles = noise(2, RATERS)
  params, apply = start(net, **inputs(condition=styles))
  table = params['params']['condition']['kernel']
  assert table.shape[0] == RATERS and 'bias' not in params['params']['condition']
  mixed = apply(params, **inputs(condition=0.5 * styles + 0.5 * styles[::-1]))
  np.testing.assert_array_equal(
    mixed, apply(params, **inputs(condition=jnp.tile(styles.mean(0, keepdims=True), (2, 1))))
  )


def test_recomputing_changes_neither_numbers_nor_names():
  given = inputs()
  params, apply = start(Denoiser(2, **SMALL), **given)
  again = Denoiser(2, **SMALL, remat=True)
  shapes = jax.eval_shape(lambda: again.init(key(), **given))
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
  np.testing.assert_allclose(
    jax.jit(again.apply)(params, **given), apply(params, **given), atol=1e-5
  )


def test_compute_dtype_leaves_parameters_and_output_float32():
  net = Denoiser(2, **SMALL, bottleneck=PromptBank(dtype=jnp.bfloat16), dtype=jnp.bfloat16)
  given = inputs(condition=noise(2, RATERS))
  out, params = jax.eval_shape(lambda: net.init_with_output(key(), **given))
  assert {leaf.dtype for leaf in jax.tree.leaves((out, params))} == {jnp.dtype(jnp.float32)}


def test_sides_that_cannot_be_halved_are_refused():
  with pytest.raises(ValueError, match='multiples of 4'):
    jax.eval_shape(lambda: Denoiser(2, **SMALL).init(key(), **inputs(h=18)))


def test_attention_starts_as_the_identity_and_sees_all_positions():
  x = noise(2, 4, 6, 64)
  net = SelfAttention()
  params = jax.jit(net.init)(key(), x)
  apply = jax.jit(net.apply)
  np.testing.assert_array_equal(apply(params, x), x)
  params = moved(params)
  changed = apply(params, x.at[0, 0, 0].add(3.0)) - apply(params, x)
  assert np.abs(changed[0, 3, 5]).max() > 1e-4 and not changed[1].any()
  # No positions of its own: moved positions come out moved.
  np.testing.assert_allclose(apply(params, x[:, ::-1]), apply(params, x)[:, ::-1], atol=1e-5)


def test_prompts_start_as_the_identity_and_are_named_by_the_style():
  x, style = noise(RATERS, 4, 6, 16), jnp.eye(RATERS)
  net = PromptBank(size=8)
  params = jax.jit(net.init)(key(), x, style)
  apply = jax.jit(net.apply)
  np.testing.assert_array_equal(apply(params, x, style), x)
  params = moved(params)
  assert params['params']['raters'].shape[0] == RATERS
  same = jnp.broadcast_to(x[:1], x.shape)
  out = apply(params, same, style)
  for rater in range(1, RATERS):
    assert np.abs(out[rater] - out[0]).max() > 1e-3
  np.testing.assert_allclose(apply(params, same[1:2], style[1:2])[0], out[1], atol=1e-5)


def test_an_image_is_encoded_once_for_all_its_rows():
  """The trunk's cost does not depend on the number of samples."""
  model = make_network(
    2,
    trunk={'name': 'unet', 'widths': (8, 8), 'convs': 1},
    denoiser=SMALL,
  )
  image = jnp.abs(noise(1, 16, 16, 1))
  params = jax.eval_shape(lambda: init_params(model, key(), image, 2))

  def convolutions(count):
    def run(params, x):
      return bind_output(model, params, image, count)(x, jnp.ones(count, jnp.int32))

    text = str(jax.make_jaxpr(run)(params, jax.ShapeDtypeStruct((count, 16, 16, 2), jnp.float32)))
    lines = [line for line in text.split('\n') if 'conv_general_dilated' in line]
    return sum(f'f32[{count},' in line.split('=')[0] for line in lines), len(lines)

  denoiser, total = convolutions(5)
  assert convolutions(1) == (total, total) and 0 < denoiser < total
