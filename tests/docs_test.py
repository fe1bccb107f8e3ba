import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CHASE = ROOT.parent / 'shared' / 'data' / 'chase_db1'
SMALL = (
  '--config.data.batch_size=4',
  '--config.evaluation.num_samples=2',
  '--config.evaluation.validation_samples=2',
)


def five_commands():
  """What docs/your_data.md tells a reader to type."""
  text = (ROOT / 'docs' / 'your_data.md').read_text()
  block = re.search(r'```\n(.*?)```', text, re.DOTALL)[1]
  return [shlex.split(line) for line in block.strip().splitlines()]


def cut(folder: Path, raters: dict[str, str], count: int) -> Path:
  """The middle of some images with the masks of some raters, under new names of the raters."""
  for kind, ending in [('images', '.jpg'), *((rater, '.png') for rater in raters)]:
    (to := folder / raters.get(kind, kind)).mkdir(parents=True)
    for path in sorted((CHASE / kind).glob(f'*{ending}'))[:count]:
      middle = np.asarray(Image.open(path))[400:528, 400:528]
      Image.fromarray(middle).save(to / f'{path.stem}.png')
  return folder


@pytest.mark.slow
@pytest.mark.skipif(not CHASE.exists(), reason='chase_db1 is not at hand')
def test_your_data_in_five_commands(tmp_path):
  data = cut(tmp_path / 'data', {'rater_1': 'rater_1', 'rater_2': 'rater_2'}, 10)
  new = cut(tmp_path / 'new', {'rater_2': 'rater_new'}, 10)
  flags = ('--manual_dir', '--config.data.manual_dir')
  words = {f'{flag}=DATA': f'{flag}={data}' for flag in flags}
  words['--manual_dir=DATA_OF_A_NEW_RATER'] = f'--manual_dir={new}'
  words['--input=DATA/images'] = f'--input={data}/images'
  environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  commands = five_commands()
  assert [command[2] for command in commands] == [
    f'experiments.{name}' for name in ('doctor', 'prepare', 'main', 'predict', 'adapt')
  ]
  for command in commands:
    typed = [words.get(word, word) for word in command[1:]]
    assert not any('DATA' in word for word in typed)
    if command[2] == 'experiments.main':
      config = next(word for word in typed if word.startswith('--config='))
      typed[typed.index(config)] = config.replace('--config=', f'--config={ROOT}/') + ',cpu,4+2'
      typed += SMALL
    done = subprocess.run(
      [sys.executable, *typed],
      check=False,
      cwd=tmp_path,
      env=environment,
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
  assert (tmp_path / 'runs' / 'mine' / 'report.html').is_file()
  pages = sorted((tmp_path / 'predicted').glob('*/explorer.html'))
  assert len(pages) == 10
  assert 'Dice' in done.stdout
