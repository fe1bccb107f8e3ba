import contextlib
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multirater_jax.checkpoints import (
  CheckpointError,
  Checkpoints,
  DamagedCheckpointError,
  digest,
  manager,
  restore_params,
)


class State(NamedTuple):
  step: jax.Array
  params: dict
  opt: tuple
  key: jax.Array


def make_state(step: int = 0, width: int = 3, dtype=jnp.float32) -> State:
  params = {'conv': {'kernel': jnp.full((2, width), step + 0.5, dtype)}, 'bias': jnp.ones(width)}
  opt = optax.adamw(1e-3).init(params)
  return State(jnp.int32(step), params, opt, jax.random.key(step))


def save_all(directory: Path, metrics: list, **options) -> list[int]:
  with Checkpoints(directory, **options) as checkpoints:
    for step, metric in enumerate(metrics):
      checkpoints.save(step, make_state(step), {'position': step}, metric)
    return checkpoints.steps()


def arrays_file(directory: Path, step: int) -> Path:
  return max((directory / str(step) / 'state').rglob('d/*'), key=lambda path: path.stat().st_size)


def flip_bit(path: Path, position: int = -1) -> None:
  data = bytearray(path.read_bytes())
  data[position] ^= 0x10
  path.write_bytes(data)


def flip_bits(directory: Path, step: int) -> None:
  """In the middle of every file of arrays: which of them is read differs from run to run."""
  for path in (directory / str(step) / 'state').rglob('d/*'):
    flip_bit(path, path.stat().st_size // 2)


DAMAGES = {
  'bit flip': flip_bits,
  'truncated': lambda d, s: os.truncate(arrays_file(d, s), arrays_file(d, s).stat().st_size // 2),
  'arrays missing': lambda d, s: shutil.rmtree(d / str(s) / 'state'),
  'index missing': lambda d, s: (d / str(s) / 'state' / 'manifest.ocdbt').unlink(),
  'manifest missing': lambda d, s: shutil.rmtree(d / str(s) / 'manifest'),
  'manifest flipped': lambda d, s: flip_bit(d / str(s) / 'manifest' / 'metadata', 40),
  'meta flipped': lambda d, s: flip_bit(d / str(s) / 'meta' / 'metadata', -2),
  'other step': lambda d, s: (shutil.rmtree(d / str(s)), shutil.copytree(d / '2', d / str(s))),
  'empty folder': lambda d, s: (shutil.rmtree(d / str(s)), (d / str(s)).mkdir()),
}


def test_round_trip_keeps_every_bit_type_and_place(tmp_path):
  state = {
    'state': make_state(3),
    'half': jnp.arange(3, dtype=jnp.bfloat16),
    'flags': np.array([True, False]),
    'keys': jax.random.split(jax.random.key(1, impl='rbg'), 3),
    'none': jnp.zeros((0, 2)),
    'number': 2**40,
    'odd': jnp.array([jnp.nan, -0.0, jnp.inf]),
  }
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, state, {'stream': {'next': 7}, 'x': [1.5, None]}, 0.25)
    restored, meta = checkpoints.restore(state)
  assert meta == {'stream': {'next': 7}, 'x': [1.5, None]}
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  assert [type(leaf) for leaf in jax.tree.leaves(restored)] == [
    type(leaf) for leaf in jax.tree.leaves(state)
  ]
  assert digest(restored) == digest(state)
  assert jnp.array_equal(jax.random.bits(restored['keys'][1]), jax.random.bits(state['keys'][1]))


def test_template_needs_shapes_only(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1), {})
    restored, _ = checkpoints.restore(jax.eval_shape(make_state))
  assert digest(restored) == digest(make_state(1))
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))


def test_a_restored_state_can_be_donated_and_saved_again(tmp_path):
  advance = jax.jit(lambda s: s._replace(step=s.step + 1), donate_argnums=0)
  with Checkpoints(tmp_path) as checkpoints:
    state = make_state(1)
    checkpoints.save(1, state, {})
    state = advance(state)
    checkpoints.save(2, state, {})
    state = advance(advance(checkpoints.restore(state)[0]))
    checkpoints.save(4, state, {})
    restored = [int(checkpoints.restore(state, step)[0].step) for step in checkpoints.steps()]
  assert restored == [2, 4]


@pytest.mark.parametrize(
  ('metrics', 'options', 'kept', 'best'),
  [
    ([3, 1, 2, 4, 5], {}, [1, 3, 4], 1),
    ([3, 1, 2, 4, 5], {'lower_is_better': False}, [3, 4], 4),
    ([3, 1, math.nan, math.nan], {}, [1, 2, 3], 1),
    ([math.nan, math.inf, -math.inf, math.nan], {}, [2, 3], None),
    ([None, None, None], {}, [1, 2], None),
    ([1, 1, 1, 1], {}, [0, 2, 3], 0),
    ([4, 1, 2, 3, 5, 6], {'keep_newest': 1, 'keep_best': 2}, [1, 2, 5], 1),
    ([1, 2, 3], {'keep_best': 0, 'keep_newest': 1}, [2], 2),
  ],
)
def test_newest_and_best_are_kept(tmp_path, metrics, options, kept, best):
  assert save_all(tmp_path, metrics, **options) == kept
  with Checkpoints(tmp_path, **options) as checkpoints:
    assert checkpoints.newest_valid() == kept[-1]
    assert checkpoints.best_valid() == best


# What TensorStore leaves behind when it fails to read has no caller.
unraisable = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


@unraisable
@pytest.mark.parametrize('damage', DAMAGES)
def test_damage_is_found_and_walked_back(tmp_path, damage, caplog):
  save_all(tmp_path, [1, 3, 2, 4], keep_newest=3)
  DAMAGES[damage](tmp_path, 3)
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.newest_valid() == 2
    caplog.clear()
    restored, meta = checkpoints.restore(make_state())
    assert 'checkpoint 3' in caplog.text and 'damaged' in caplog.text
    assert meta == {'position': 2} and digest(restored) == digest(make_state(2))
    with pytest.raises(DamagedCheckpointError, match=r'^checkpoint 3 in .* is damaged: [^\n]*$'):
      checkpoints.restore(make_state(), 3)
    assert restore_params(tmp_path)[1] == {'position': 2}


@unraisable
def test_bit_rot_of_raw_numbers_is_found(tmp_path):
  """Numbers that do not compress have no checksum on disk but ours."""
  state = {'w': np.random.default_rng(0).normal(size=100_000)}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    flip_bit(arrays_file(tmp_path, 1), 400_000)
    with pytest.raises(DamagedCheckpointError, match='w does not have the digest'):
      checkpoints.restore(state, 1)


@unraisable
def test_damaged_best_gives_way_to_the_next(tmp_path):
  save_all(tmp_path, [1, 3, 2, 4], keep_newest=3)
  flip_bit(arrays_file(tmp_path, 0), 100)
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.best_valid() == 2


@unraisable
def test_any_flipped_byte_is_found_or_without_effect(tmp_path):
  save_all(tmp_path, [1])
  files = sorted(path for path in (tmp_path / '0').rglob('*') if path.is_file())
  rng, found = np.random.default_rng(0), 0
  checkpoints = Checkpoints(tmp_path)
  for file in rng.permutation(np.repeat(files, 6)):
    original = file.read_bytes()
    if not original:
      continue
    flip_bit(file, int(rng.integers(len(original))))
    try:
      assert digest(checkpoints.restore(make_state(), 0)[0]) == digest(make_state(0))
    except DamagedCheckpointError:
      found += 1
    file.write_bytes(original)
  assert found > 20


@unraisable
def test_a_run_goes_on_over_damaged_checkpoints(tmp_path, caplog):
  save_all(tmp_path, [1, 2, 3, 4], keep_newest=3)
  flip_bit(arrays_file(tmp_path, 3), 100)
  shutil.rmtree(tmp_path / '2')
  (tmp_path / '2').mkdir()
  with Checkpoints(tmp_path) as checkpoints:
    state, _ = checkpoints.restore(make_state())
    assert int(state.step) == 1
    checkpoints.save(2, make_state(2), {}, 9)
    assert checkpoints.steps() == [0, 1, 2] and checkpoints.newest_valid() == 2
    checkpoints.save(3, make_state(3), {}, 9)
  assert 'damaged-3' in caplog.text
  assert sorted(path.name for path in tmp_path.glob('damaged-*')) == ['damaged-2', 'damaged-3']


def test_existing_and_earlier_steps_are_refused(tmp_path):
  save_all(tmp_path, [1, 2])
  with Checkpoints(tmp_path) as checkpoints:
    for step in (0, 1):
      with pytest.raises(CheckpointError, match='exists in'):
        checkpoints.save(step, make_state(step), {})
    assert checkpoints.steps() == [0, 1]


@pytest.mark.parametrize(
  ('template', 'message'),
  [
    (make_state(width=4), r'params/bias has shape \[3\], the program wants \[4\].*and 2 more'),
    (make_state(dtype=jnp.bfloat16), 'kernel has dtype float32, the program wants bfloat16'),
    ({'params': {'dense': jnp.zeros(1)}}, 'params/dense is not in the checkpoint; key is only in'),
    (
      make_state()._replace(key=jax.random.key(0, impl='rbg')),
      'key has dtype key<fry>, .* key<rbg>',
    ),
  ],
)
def test_another_model_is_refused_without_walking_back(tmp_path, template, message, caplog):
  save_all(tmp_path, [1, 2])
  with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError) as error:
    checkpoints.restore(template)
  assert error.match(message)
  assert '\n' not in str(error.value)
  assert not [record for record in caplog.records if record.name == 'absl']


@unraisable
def test_missing_checkpoints_are_named(tmp_path):
  with Checkpoints(tmp_path / 'none') as checkpoints:
    assert checkpoints.newest_valid() is None and checkpoints.best_valid() is None
    with pytest.raises(CheckpointError, match='there is no checkpoint in'):
      checkpoints.restore(make_state())
  assert not (tmp_path / 'none').exists()
  save_all(tmp_path, [1, 2])
  with Checkpoints(tmp_path) as checkpoints:
    with pytest.raises(CheckpointError, match=r'no checkpoint 7 in .*, only 0, 1'):
      checkpoints.restore(make_state(), 7)
  for step in (0, 1):
    flip_bit(tmp_path / str(step) / 'manifest' / 'metadata', 30)
  with pytest.raises(CheckpointError, match=r'no checkpoint in .* is intact'):
    Checkpoints(tmp_path).restore(make_state())


def test_params_alone_need_no_template(tmp_path):
  save_all(tmp_path, [1, 2])
  params, meta = restore_params(tmp_path)
  assert digest(params) == digest(make_state(1).params) and meta == {'position': 1}
  assert digest(restore_params(tmp_path, 0)[0]) == digest(make_state(0).params)
  assert list(restore_params(tmp_path, name='opt')[0]['0']) == ['count', 'mu', 'nu']
  with pytest.raises(CheckpointError, match="no 'ema', only key, opt, params, step"):
    restore_params(tmp_path, name='ema')


def test_meta_can_be_read_alone_and_must_be_json(tmp_path):
  save_all(tmp_path, [1])
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.read_meta(0) == {'position': 0}
    for meta in ({'x': (1, 2)}, {'x': object()}, {'x': {1: 2}}, {'x': math.nan}):
      with pytest.raises(CheckpointError, match='must be plain JSON'):
        checkpoints.save(1, make_state(1), meta)
    checkpoints.save(1, make_state(1), {})


def test_large_states_are_written_while_the_caller_donates_them(tmp_path, monkeypatch):
  monkeypatch.setattr(manager, 'BACKGROUND_BYTES', 1)
  advance = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  state = {'w': jnp.zeros((1024, 1024))}
  with Checkpoints(tmp_path, keep_newest=4) as checkpoints:
    for step in range(4):
      checkpoints.save(step, state, {}, step)
      state = advance(state)
    for step in range(4):
      assert np.all(checkpoints.restore(state, step)[0]['w'] == step)


@contextlib.contextmanager
def full_disk():
  """No file can grow beyond 100 kB."""
  limit = resource.getrlimit(resource.RLIMIT_FSIZE)
  earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, earlier)


@unraisable
@pytest.mark.parametrize('background', [False, True])
def test_a_full_disk_is_one_sentence_and_saving_can_be_tried_again(
  tmp_path, monkeypatch, background
):
  monkeypatch.setattr(manager, 'BACKGROUND_BYTES', 1 if background else 1 << 30)
  state = {'w': np.random.default_rng(0).normal(size=300_000)}
  message = r'^checkpoint 2 could not be written to [^\n]*$'
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    checkpoints.wait()
    with full_disk():
      for _ in range(2):
        with pytest.raises(CheckpointError, match=message):
          checkpoints.save(2, state, {})
          checkpoints.wait()
    assert checkpoints.newest_valid() == 1
    checkpoints.save(2, state, {})
    assert checkpoints.newest_valid() == 2


@unraisable
def test_a_failure_in_the_background_is_raised_at_the_end(tmp_path, monkeypatch):
  monkeypatch.setattr(manager, 'BACKGROUND_BYTES', 1)
  state = {'w': np.random.default_rng(0).normal(size=300_000)}
  with full_disk(), pytest.raises(CheckpointError, match='checkpoint 2 could not be written'):
    with Checkpoints(tmp_path) as checkpoints:
      checkpoints.save(2, state, {})
  assert Checkpoints(tmp_path).newest_valid() is None


def test_what_a_killed_save_left_is_removed(tmp_path):
  save_all(tmp_path, [1])
  shutil.copytree(tmp_path / '0', tmp_path / '7.orbax-checkpoint-tmp')
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.steps() == [0]
    checkpoints.save(1, make_state(1), {})
  assert sorted(path.name for path in tmp_path.iterdir()) == ['0', '1']


def test_a_deleted_folder_is_made_again(tmp_path):
  with Checkpoints(tmp_path / 'run') as checkpoints:
    checkpoints.save(1, make_state(1), {})
    shutil.rmtree(tmp_path / 'run')
    checkpoints.save(2, make_state(2), {})
    assert checkpoints.steps() == [2] and checkpoints.newest_valid() == 2
    checkpoints.save(3, make_state(3), {})
    assert checkpoints.steps() == [2, 3]


def test_the_first_error_is_the_one_reported(tmp_path):
  with pytest.raises(ZeroDivisionError), Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1), {})
    _ = 1 / 0
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.newest_valid() == 1


def test_an_error_in_the_block_does_not_lose_what_is_being_written(tmp_path, monkeypatch):
  monkeypatch.setattr(manager, 'BACKGROUND_BYTES', 1)
  with pytest.raises(ZeroDivisionError), Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, {'w': np.random.default_rng(0).normal(size=3_000_000)}, {})
    _ = 1 / 0
  assert Checkpoints(tmp_path).newest_valid() == 1


SAVE_FOREVER = """
  import sys, numpy as np
  from multirater_jax.checkpoints import Checkpoints
  with Checkpoints(sys.argv[1]) as checkpoints:
    first = (checkpoints.newest_valid() or 0) + 1
    for step in range(first, first + 500):
      state = {'w': np.random.default_rng(step).normal(size=500_000)}
      checkpoints.save(step, state, {'n': step}, 1)
"""


def test_kill_during_save_leaves_the_steps_before_intact(tmp_path):
  rng, before = np.random.default_rng(0), 0
  for _ in range(3):
    process = subprocess.Popen([sys.executable, '-c', textwrap.dedent(SAVE_FOREVER), str(tmp_path)])
    deadline = time.monotonic() + 60
    while not _saves_a_later_one(tmp_path, before) and time.monotonic() < deadline:
      time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.03))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with Checkpoints(tmp_path) as checkpoints:
      newest = checkpoints.newest_valid()
      state, meta = checkpoints.restore({'w': np.zeros(500_000)})
    assert newest == meta['n'] > before
    assert np.array_equal(state['w'], np.random.default_rng(newest).normal(size=500_000))
    before = newest
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(before + 1, state, {})
  assert all(path.name.isdigit() for path in tmp_path.iterdir())


def _saves_a_later_one(directory: Path, before: int) -> bool:
  names = [path.name for path in directory.glob('*')]
  later = any(name.isdigit() and int(name) > before + 1 for name in names)
  return later and any('tmp' in name for name in names)
