"""The command prompts on a tiny run, as a user starts it: its flags clash with those of main."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tiny

from multirater_jax import style_prompts

pytestmark = pytest.mark.slow  # compiles for half a minute


@pytest.fixture(scope='module')
def run(tmp_path_factory, data_dir):
  workdir = tmp_path_factory.mktemp('prosona')
  assert tiny.call(tiny.arguments(workdir, data_dir, method='prosona')) == 0
  return workdir


def call(*argv):
  return subprocess.run(
    [sys.executable, '-m', 'experiments.prompts', *map(str, argv)],
    check=False,
    cwd=tiny.ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
  )


def test_areas_of_all_prompts_are_printed_and_written(run):
  done = call(f'--workdir={run}', '--start=tight outline', '--points=3')
  assert done.returncode == 0, done.stderr
  found = json.loads((run / 'evaluation' / 'prompts.json').read_text())
  assert found['images'] == 6 and found['stage'] == 'personalize'
  assert found['interpolation']['start'] == 'tight outline'
  assert len(found['interpolation']['areas']) == 3
  for part, split in (('trained', 'train'), ('held_out', 'test')):
    vocabulary = style_prompts.VOCABULARIES[split]
    for level in style_prompts.AREAS:
      assert found[part]['prompts'][level] == list(vocabulary[level])
      areas = np.array(found[part]['areas'][level])
      assert areas.shape == (len(vocabulary[level]),)
      assert (0 <= areas).all() and (areas <= 32 * 32).all()
    assert 0 <= found[part]['ordered'] <= found[part]['ordered_ends'] <= 1
  for text in ('generous outline with a margin', '"tight outline" to'):
    assert text in done.stdout


def test_a_run_without_prompts_and_a_prompt_without_words_are_one_sentence(run, finished):
  for argv, message in (
    ((f'--workdir={finished}',), 'prob_unet takes no prompts'),
    ((f'--workdir={run}', '--end=...'), 'holds no word'),
    ((), 'Give --workdir=FOLDER'),
  ):
    done = call(*argv)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[-1].startswith('error: ') and message in lines[-1], done.stderr
