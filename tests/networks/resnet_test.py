import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from multirater_jax.networks.resnet import NORMS, ResNet34, ResNetUNet, load_torchvision

BLOCKS = {1: (64, 3), 2: (128, 4), 3: (256, 6), 4: (512, 3)}


def shapes(trunk, channels=1, size=32):
  image = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
  return jax.eval_shape(trunk.init, jax.random.key(0), image)['params']


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('channels, encoder', [(1, 21_278_400), (3, 21_284_672)])
def test_parameters_are_those_of_the_papers(norm, channels, encoder):
  params = shapes(ResNetUNet(norm), channels)
  assert count(params['encoder']) == encoder
  assert count({k: v for k, v in params.items() if k != 'encoder'}) == 3_151_552


def test_freeze_pattern_finds_the_affine_of_the_encoder_only():
  names = [
    jax.tree_util.keystr(path, simple=True, separator='/')
    for path, _ in jax.tree.leaves_with_path(shapes(ResNetUNet('frozen_affine')))
  ]
  frozen = [name for name in names if 'frozen_' in name]
  assert len(frozen) == 2 * (1 + 2 * 16 + 3)  # stem, two a block, three shortcuts
  assert all(name.startswith('encoder/') and name[-5:] in ('scale', '/bias') for name in frozen)
  assert not any('frozen_' in str(p) for p, _ in jax.tree.leaves_with_path(shapes(ResNetUNet())))


@pytest.mark.parametrize('shape', [(1, 48, 64, 1), (1, 64, 33, 1)])
def test_size_must_be_a_multiple_of_32(shape):
  with pytest.raises(ValueError, match='multiples of 32'):
    jax.eval_shape(ResNetUNet().init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


def test_unknown_norm_is_refused():
  with pytest.raises(ValueError, match=r"'batch'.*group"):
    shapes(ResNetUNet('batch'))


@pytest.fixture(scope='module')
def small():
  """A narrow decoder on the full encoder, drawn by NumPy: compiling its init takes a minute."""
  trunk = ResNetUNet(widths=(16, 16, 16, 16, 8))
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1].key == 'kernel':
      return rng.standard_normal(leaf.shape, np.float32) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
    return np.full(leaf.shape, path[-1].key == 'scale', np.float32)

  params = {'params': jax.tree.map_with_path(draw, shapes(trunk))}
  return trunk, params, jnp.asarray(rng.random((2, 32, 64, 1), np.float32))


@pytest.fixture(scope='module')
def gradient_and_features(small):
  trunk, params, image = small

  def loss(params):
    features = trunk.apply(params, image)
    return jnp.sum(features.full**2), features

  return jax.jit(jax.grad(loss, has_aux=True))(params)


def test_gradient_is_finite_and_reaches_every_parameter(gradient_and_features):
  for path, leaf in jax.tree.leaves_with_path(gradient_and_features[0]):
    assert np.all(np.isfinite(leaf)) and np.any(leaf != 0), path


def test_levels_run_from_coarse_to_fine(gradient_and_features):
  features = gradient_and_features[1]
  sizes = [(2, 2, 4, 16), (2, 4, 8, 16), (2, 8, 16, 16), (2, 16, 32, 16), (2, 32, 64, 8)]
  assert [level.shape for level in features.levels] == sizes
  np.testing.assert_array_equal(features.full, features.levels[-1])


def test_what_the_hook_returns_goes_to_the_next_block(small, gradient_and_features):
  trunk, params, image = small
  plain = gradient_and_features[1]
  seen = []

  def hook(level, features):
    seen.append(level)
    return features * 0 if level == 4 else features + level

  hooked = jax.jit(lambda p, x: trunk.apply(p, x, hook))(params, image)
  assert seen == [0, 1, 2, 3, 4]
  np.testing.assert_array_equal(hooked.full, 0)
  np.testing.assert_allclose(hooked.levels[0], plain.levels[0], atol=1e-3)
  assert np.abs(hooked.levels[2] - plain.levels[2] - 2).max() > 0.01  # level 1 had changed


def test_compute_dtype_leaves_the_parameters_float32():
  trunk = ResNetUNet('frozen_affine', dtype=jnp.bfloat16)
  image = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
  features, params = jax.eval_shape(trunk.init_with_output, jax.random.key(0), image)
  assert {level.dtype for level in features.levels} == {jnp.dtype(jnp.bfloat16)}
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


@pytest.fixture(scope='module')
def torchvision():
  """Random weights under torchvision's names, as float16 to keep the file small."""
  rng = np.random.default_rng(0)
  tensors = {}

  def conv(name, *shape):
    scale = np.sqrt(2 / np.prod(shape[1:]))
    tensors[name] = (scale * rng.standard_normal(shape, np.float32)).astype(np.float16)

  def norm(name, width):
    for part, low, high in [('weight', 0.3, 0.9), ('bias', -0.2, 0.2), ('running_mean', -0.2, 0.2)]:
      tensors[f'{name}.{part}'] = rng.uniform(low, high, width).astype(np.float16)
    tensors[f'{name}.running_var'] = rng.uniform(0.5, 2, width).astype(np.float16)

  conv('conv1.weight', 64, 3, 7, 7)
  norm('bn1', 64)
  before = 64
  for stage, (width, blocks) in BLOCKS.items():
    for block in range(blocks):
      name = f'layer{stage}.{block}'
      conv(f'{name}.conv1.weight', width, before, 3, 3)
      conv(f'{name}.conv2.weight', width, width, 3, 3)
      norm(f'{name}.bn1', width)
      norm(f'{name}.bn2', width)
      if before != width:
        conv(f'{name}.downsample.0.weight', width, before, 1, 1)
        norm(f'{name}.downsample.1', width)
      before = width
  conv('fc.weight', 10, 512)
  return tensors


@pytest.fixture(scope='module')
def weights(torchvision, tmp_path_factory):
  path = tmp_path_factory.mktemp('weights') / 'resnet34.safetensors'
  save_file(torchvision, path)
  return path


def reference(tensors, image):
  """The five maps of a ResNet-34 at inference in plain NumPy, channels first."""
  tensors = {name: value.astype(np.float64) for name, value in tensors.items()}

  def windows(x, size, stride, fill):
    edge = size // 2
    x = np.pad(x, ((0, 0), (edge, edge), (edge, edge)), constant_values=fill)
    x = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return x[:, ::stride, ::stride]

  def conv(name, x, stride):
    weight = tensors[f'{name}.weight']
    view = windows(x, weight.shape[-1], stride, 0)
    return np.tensordot(weight, view, axes=((1, 2, 3), (0, 3, 4)))

  def norm(name, x):
    weight, bias, mean, var = (
      tensors[f'{name}.{part}'][:, None, None]
      for part in ('weight', 'bias', 'running_mean', 'running_var')
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

  def relu(x):
    return np.maximum(x, 0)

  def block(name, x, stride):
    y = relu(norm(f'{name}.bn1', conv(f'{name}.conv1', x, stride)))
    y = norm(f'{name}.bn2', conv(f'{name}.conv2', y, 1))
    if f'{name}.downsample.0.weight' in tensors:
      x = norm(f'{name}.downsample.1', conv(f'{name}.downsample.0', x, stride))
    return relu(x + y)

  x = relu(norm('bn1', conv('conv1', image, 2)))
  maps = [x]
  x = windows(x, 3, 2, -np.inf).max((3, 4))
  for stage, (_, blocks) in BLOCKS.items():
    for number in range(blocks):
      x = block(f'layer{stage}.{number}', x, 2 if stage > 1 and number == 0 else 1)
    maps.append(x)
  return maps


@pytest.mark.parametrize('channels', [3, 1, 5])
def test_torchvision_weights_give_the_maps_of_a_plain_forward_pass(torchvision, weights, channels):
  params = load_torchvision(weights, channels)
  image = np.random.default_rng(1).random((32, 64, channels), np.float32)
  maps = jax.jit(ResNet34('frozen_affine').apply)({'params': params}, image[None])
  stem = torchvision['conv1.weight'].astype(np.float32)
  if channels == 1:
    stem = stem.sum(1, keepdims=True)
  if channels == 5:
    stem = np.concatenate([stem, stem[:, :2]], axis=1) * 3 / 5
  expected = reference(torchvision | {'conv1.weight': stem}, image.transpose(2, 0, 1))
  for actual, wanted in zip(maps, expected, strict=True):
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(actual[0].transpose(2, 0, 1), wanted, atol=1e-4 * scale)


def test_loaded_weights_fit_the_trunk(weights):
  params = load_torchvision(weights, 1)
  wanted = shapes(ResNetUNet('frozen_affine'))['encoder']
  assert jax.tree.map(lambda x: x.shape, params) == jax.tree.map(lambda x: x.shape, wanted)


def test_unusable_weight_files_are_named_in_one_sentence(tmp_path, torchvision):
  path = tmp_path / 'weights.safetensors'
  with pytest.raises(ValueError, match='no weight file'):
    load_torchvision(path, 1)
  path.write_bytes(b'not what it should be')
  with pytest.raises(ValueError, match='no readable safetensors'):
    load_torchvision(path, 1)
  save_file({k: v for k, v in torchvision.items() if not k.startswith('layer3.5')}, path)
  with pytest.raises(ValueError, match=r"no tensor 'layer3\.5\.conv1\.weight'"):
    load_torchvision(path, 1)
  save_file(torchvision | {'layer2.1.conv1.weight': np.zeros((128, 128, 1, 1), np.float16)}, path)
  with pytest.raises(ValueError, match='another network: stage2_block1/conv1/kernel'):
    load_torchvision(path, 1)
