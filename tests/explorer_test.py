"""The explorer page in a real browser, headless; skipped where there is none."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from multirater_jax.report import explorer

BROWSER = shutil.which('chromium') or shutil.which('google-chrome')
# Every line acts and notes what the page shows then: a number of the canvas, and the status line.
ACTIONS = """
const found = [];
async function note(name) {
  await draw();
  const shown = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let i = 0; i < shown.length; i += 1) sum = (sum * 31 + shown[i]) % 1000003;
  found.push(`${name}=${sum}=${byId('status').textContent}`);
}
const press = (key) => document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
function slide(id, value) {
  byId(id).value = value;
  byId(id).dispatchEvent(new Event('input'));
}
(async () => {
  await note('start');
  byId('layer-0').click(); await note('rater off');
  press('1'); await note('rater on');
  press('ArrowUp'); await note('next slice');
  press('ArrowDown'); await note('back');
  slide('sample', 2); await note('sample');
  slide('sample', 0); slide('mix', 3); await note('mix');
  slide('mix', 0); press('u'); await note('entropy');
  slide('threshold', 99); await note('threshold');
  press('u'); press('u'); press('u'); slide('threshold', 0); await note('none');
  slide('low', 90); await note('window');
  slide('low', 0); press('+'); await note('zoom');
  press('0'); await note('whole');
  document.title = 'FOUND ' + found.join('|') + ' END';
})();
"""


def shown(**changes):
  rng, (rows, columns) = np.random.default_rng(0), np.mgrid[:24, :32]

  def disks(radius):
    sizes = radius - np.abs(np.arange(3) - 1)[:, None, None]
    return (np.hypot(rows - 12, columns - 16) < sizes).astype(np.uint8)

  samples = np.stack([disks(4 + number) for number in range(3)])
  share = samples.mean(0, dtype=np.float32)
  values = {
    'title': 'case <3> & "more"',
    'planes': rng.integers(0, 256, (3, 24, 32, 1), dtype=np.uint8),
    'raters': {'anna </script>': disks(5), 'ben': disks(8)},
    'samples': samples,
    'consensus': share,
    'entropy': share * (1 - share),
    'disagreement': share * (1 - share),
    'num_classes': 2,
    'mix': explorer.Mix('anna', 'ben', np.stack([disks(5 + step) for step in range(4)])),
    'facts': [('consensus', '1.2 ml')],
    'flags': ['Smaller than a window.'],
  }
  return explorer.Explored(**values | changes)


def browse(path, *more):
  options = '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run'.split()
  options += '--disable-background-networking --disable-component-update --disable-sync'.split()
  options += [f'--user-data-dir={path.parent / "profile"}', '--enable-logging=stderr']
  options += ['--virtual-time-budget=20000', '--window-size=900,600', *more]
  command = [BROWSER, *options, path.as_uri()]
  return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@pytest.mark.skipif(not BROWSER, reason='there is no Chromium to open the page in')
def test_every_control_acts_and_nothing_is_logged(tmp_path):
  path = tmp_path / 'page.html'
  explorer.write(path, shown())
  text = path.read_text()
  path.write_text(text.replace('</body>', f'<script>{ACTIONS}</script></body>'))
  done = browse(path, '--dump-dom')
  said = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
  assert not [line for line in said if 'willReadFrequently' not in line]  # a hint to the test
  title = re.search(r'<title>FOUND (.*) END</title>', done.stdout)[1]
  found = {name: (seen, status) for name, seen, status in (n.split('=') for n in title.split('|'))}
  seen = {name: number for name, (number, _) in found.items()}
  for name in ('rater on', 'back', 'none', 'whole'):
    assert seen[name] == seen['start'], name
  changed = ('rater off', 'next slice', 'sample', 'mix', 'entropy', 'window', 'zoom')
  assert len({seen[name] for name in ('start', *changed)}) == len(changed) + 1
  assert seen['threshold'] not in (seen['entropy'], seen['zoom'])
  assert found['start'][1] == 'slice 2 of 3'
  assert found['sample'][1] == 'slice 2 of 3 · sample 2 of 3'
  assert '33 % anna, 67 % ben' in found['mix'][1]
  assert 'entropy of 0.69 to 0.69 nats' in found['threshold'][1]


@pytest.mark.skipif(not BROWSER, reason='there is no Chromium to open the page in')
def test_a_picture_of_it_shows_the_image(tmp_path):
  path, picture = tmp_path / 'page.html', tmp_path / 'shot.png'
  color = np.zeros((1, 24, 32, 3), np.uint8)
  color[..., 0] = 250
  maps = {name: np.zeros((1, 24, 32), np.float32) for name in ('consensus', 'entropy')}
  empty = {name: mask[:1] for name, mask in shown().raters.items()}
  change = {'planes': color, 'raters': empty, 'samples': shown().samples[:, :1], 'mix': None}
  explorer.write(path, shown(**change, **maps, disagreement=maps['entropy']))
  browse(path, f'--screenshot={picture}')
  seen = np.asarray(Image.open(picture).convert('RGB'))
  assert (np.abs(seen.astype(int) - (255, 0, 0)).max(-1) < 3).mean() > 0.2  # windowed


def test_the_page_stands_alone_and_keeps_foreign_text_out_of_its_markup(tmp_path):
  explorer.write(tmp_path / 'page.html', shown())
  text = (tmp_path / 'page.html').read_text()
  assert text.count('<script') == text.count('</script>') == 2
  assert 'anna </script>' not in text and 'case <3>' not in text
  assert not re.findall(r'(?:src|href)="(?!data:)', text)
  assert 'http' not in re.sub(r'http-equiv', '', text)
  assert [p.name for p in tmp_path.iterdir()] == ['page.html']
