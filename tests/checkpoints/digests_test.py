import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multirater_jax.checkpoints import CheckpointError, digest
from multirater_jax.checkpoints.digests import describe, leaf_names, nest, tree_differences


def test_names_follow_containers_and_attributes():
  state = {
    'params': {'conv': [jnp.zeros(1)]},
    'opt': optax.ScaleByScheduleState(count=jnp.ones(())),
  }
  assert leaf_names(state) == ['opt/count', 'params/conv/0']


def test_two_leaves_of_one_name_are_refused():
  with pytest.raises(CheckpointError, match="named 'a/b'"):
    leaf_names({'a/b': 1, 'a': {'b': 2}})


def test_digest_is_that_of_the_contents_not_of_the_container():
  numpy, jaxy = np.arange(6, dtype=np.float32).reshape(2, 3), jnp.arange(6.0).reshape(2, 3)
  assert digest({'a': numpy, 'b': 1}) == digest({'b': 1, 'a': jaxy})
  assert digest({'a': np.asfortranarray(numpy)}) == digest({'a': numpy})


@pytest.mark.parametrize(
  'other',
  [
    {'a': jnp.zeros((2, 3)).at[1, 2].set(-0.0)},
    {'a': jnp.zeros((3, 2))},
    {'a': jnp.zeros((2, 3), jnp.bfloat16)},
    {'b': jnp.zeros((2, 3))},
    {'a': jnp.zeros((2, 3)), 'b': jnp.zeros(0)},
  ],
)
def test_digest_sees_every_difference(other):
  assert digest({'a': jnp.zeros((2, 3))}) != digest(other)


def test_digest_of_keys_includes_their_algorithm():
  assert digest(jax.random.key(0)) != digest(jax.random.key(1))
  same_bits = [
    jax.random.wrap_key_data(np.arange(4, dtype=np.uint32), impl=i) for i in ('rbg', 'unsafe_rbg')
  ]
  assert digest(same_bits[0]) != digest(same_bits[1])


def test_digest_is_stable_between_versions():
  bits = hashlib.sha256(np.float32([1, 2]).tobytes()).hexdigest()
  line = f'{{"w":{{"dtype":"float32","sha256":"{bits}","shape":[2]}}}}'
  assert digest({'w': jnp.array([1.0, 2.0])}) == hashlib.sha256(line.encode()).hexdigest()


def test_text_is_not_a_leaf():
  with pytest.raises(CheckpointError, match='is a str'):
    digest({'name': 'x'})


def test_differences_name_leaf_and_kind():
  saved = {'a': describe(jnp.zeros(2)), 'b': describe(jnp.zeros(2)), 'c': describe(jnp.zeros(2))}
  wanted = {
    'a': describe(jnp.zeros(3)),
    'b': describe(jnp.zeros(2, jnp.bfloat16)),
    'd': describe(1),
  }
  assert tree_differences(saved, wanted) == [
    'a has shape [2], the program wants [3]',
    'b has dtype float32, the program wants bfloat16',
    'd is not in the checkpoint',
    'c is only in the checkpoint',
  ]


def test_nest_undoes_the_names():
  assert nest([('a/b', 1), ('a/c/d', 2), ('e', 3)]) == {'a': {'b': 1, 'c': {'d': 2}}, 'e': 3}
