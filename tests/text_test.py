import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from multirater_jax import style_prompts, text

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ['conservative outline, excludes the halo', 'generous outline with a margin']


def test_embeddings_have_length_one_and_the_asked_dimension():
  for dim in (16, 256):
    vectors = text.embed(PROMPTS, dim=dim)
    assert vectors.shape == (2, dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_another_process_gives_the_same_numbers():
  code = (
    'import sys, numpy as np; from multirater_jax import text;'
    'sys.stdout.buffer.write(text.embed(sys.argv[1:]).tobytes())'
  )
  for seed in ('1', '2'):
    found = subprocess.run(
      [sys.executable, '-c', code, *PROMPTS],
      env={'PYTHONHASHSEED': seed, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'},
      capture_output=True,
      check=True,
    )
    assert found.stdout == text.embed(PROMPTS).tobytes()


def test_case_punctuation_and_fillers_say_nothing_but_order_does():
  one, two = text.embed(['The tight, small outline.', 'tight small OUTLINE'])
  np.testing.assert_array_equal(one, two)
  one, two = text.embed(['outline small tight', 'tight small outline'])
  assert 0.5 < one @ two < 0.999


def test_a_word_in_another_form_is_near_and_another_word_is_not():
  word, form, other = text.embed(['conservative', 'conservatively', 'generous'])
  assert word @ form > 0.4 > 0.2 > word @ other


def test_held_out_paraphrases_are_nearest_to_those_of_their_own_level():
  def mean_cosines(area):
    held_out = text.embed(style_prompts.VOCABULARIES['test'][area])
    return [
      (held_out @ text.embed(style_prompts.VOCABULARIES['train'][other]).T).mean()
      for other in style_prompts.AREAS
    ]

  for level, area in enumerate(style_prompts.AREAS):
    cosines = mean_cosines(area)
    assert np.argmax(cosines) == level, (area, cosines)


def test_the_way_between_two_prompts_stays_on_the_sphere():
  start, end = text.embed(PROMPTS)
  way = text.interpolate(start, end, 5)
  np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1, atol=1e-6)
  np.testing.assert_allclose(way[[0, -1]], [start, end], atol=1e-6)
  toward = way @ end
  assert (np.diff(toward) > 0).all()


@pytest.mark.parametrize('prompt', ['', ' ,.'])
def test_a_prompt_without_words_is_refused(prompt):
  with pytest.raises(ValueError, match='holds no word'):
    text.embed(['tight', prompt])


def test_one_text_instead_of_a_list_is_refused():
  with pytest.raises(ValueError, match='Give a list of prompts, not the one text "tight"'):
    text.embed('tight')


def test_a_missing_folder_and_a_missing_extra_are_named(tmp_path, monkeypatch):
  with pytest.raises(ValueError, match=r'nowhere is no folder; give one that holds'):
    text.embed(['tight'], tmp_path / 'nowhere')
  monkeypatch.setitem(sys.modules, 'sentence_transformers', None)
  with pytest.raises(ValueError, match=r'pip install .multirater_jax\[text\]'):
    text.embed(['tight'], tmp_path)


def test_an_encoder_is_read_from_its_folder_and_never_downloaded(tmp_path, monkeypatch):
  asked = {}

  class Model:
    def __init__(self, path, **options):
      asked.update(options, path=path)

    def encode(self, prompts, **options):
      return np.array([[3.0, 4.0] for _ in prompts], np.float32)

  module = types.SimpleNamespace(SentenceTransformer=Model)
  monkeypatch.setitem(sys.modules, 'sentence_transformers', module)
  np.testing.assert_allclose(text.embed(['tight', 'wide'], tmp_path), [[0.6, 0.8]] * 2)
  assert asked['path'] == str(tmp_path) and asked['local_files_only'] is True
