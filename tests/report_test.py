import json
import math
import re
import shutil
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from multirater_jax import report
from multirater_jax.report import figures as charts
from multirater_jax.report import (
  outlines,
  page,
  panels,
  part,
  provenance,
  scores,
  sturdiness,
  tiles,
)

STAGES = ('stage 1: diversify', 'stage 2: personalize')
MEANS = {
  STAGES[0]: {'ged': 0.231, 'ged_dpersona': 0.219, 'dice_soft': 0.842, 'dice_max': 0.871,
              'dice_match': 0.829, 'ece': 0.021, 'brier': 0.018, 'ncc': 0.71, 'hm_iou': 0.69,
              'hd95': 2.91, 'ged_cross': 0.41},
  STAGES[1]: {'ged': 0.204, 'ged_dpersona': 0.197, 'dice_soft': 0.861, 'dice_max': 0.88,
              'dice_match': 0.851, 'dice_rater': 0.838, 'dice_rater_gap': 0.036, 'ece': 0.024,
              'brier': 0.017, 'ncc': 0.73, 'hm_iou': 0.71, 'hd95': 2.47, 'ged_cross': 0.39},
  'raters': {'ged': 0.272, 'dice_soft': 0.85, 'dice_max': 0.84, 'dice_match': 0.80, 'hd95': 2.6},
  'oracle': {'ged': 0.092, 'dice_soft': 0.93, 'dice_max': 0.91, 'dice_match': 0.88,
             'dice_rater': 0.88, 'dice_rater_gap': 0.061, 'hd95': 1.7},
}  # fmt: skip

DRAW_PANEL = tiles.picture


def blob(rng, size, radius, squeeze=1.0, shift=(0.0, 0.0)):
  y, x = np.mgrid[:size, :size] - size / 2 + 0.5
  angle = np.arctan2(y - shift[0], x - shift[1])
  ripple = 1 + 0.15 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.06 * np.sin(7 * angle)
  return np.hypot(y - shift[0], (x - shift[1]) * squeeze) < radius * size / 64 * ripple


def write_panels(path, raters=4, samples=10, size=64):
  rng = np.random.default_rng(0)
  kinds = ['typical', 'typical', 'best', 'worst']
  images, masks, drawn, sampled = [], [], [], []
  for _ in kinds:
    squeeze, shift = rng.uniform(0.7, 1.4), rng.uniform(-6, 6, 2)
    soft = blob(rng, size, 12, squeeze, shift) * 0.5 + blob(rng, size, 16, squeeze, shift) * 0.2
    images.append(np.clip(soft + 0.15 + rng.normal(0, 0.05, (size, size)), 0, 1))
    masks.append([blob(rng, size, 9 + 2.2 * r, squeeze, shift) for r in range(raters)])
    drawn.append([blob(rng, size, 9.5 + 2 * r, squeeze, shift) for r in range(raters)])
    sampled.append([blob(rng, size, rng.uniform(8, 17), squeeze, shift) for _ in range(samples)])
  masks, sampled = np.array(masks, np.uint8), np.array(sampled, np.uint8)
  annotated = np.ones((len(kinds), raters), bool)
  annotated[1, 2] = False
  masks[1, 2] = 0
  masks[3, 0] = 0
  mean = sampled.mean(1).astype(np.float32)
  clipped = np.clip(mean, 1e-6, 1 - 1e-6)
  np.savez(
    path, image=np.array(images, np.float32)[..., None], masks=masks, annotated=annotated,
    samples=sampled, personalized=np.array(drawn, np.uint8), consensus=mean,
    entropy=-(clipped * np.log(clipped) + (1 - clipped) * np.log(1 - clipped)),
    disagreement=sampled.var(1).astype(np.float32),
    name=np.array([f'test_{i:04d}' for i in range(len(kinds))]), kind=np.array(kinds),
    ged=np.array([0.2, 0.23, 0.02, 0.9], np.float32),
  )  # fmt: skip


def summary(raters=4):
  rng = np.random.default_rng(1)
  rows = [
    {
      'label': label,
      'kind': 'model' if label.startswith('stage') else 'bound',
      'scores': {
        name: {'mean': mean, 'low': mean - 0.06 * abs(mean), 'high': mean + 0.06 * abs(mean)}
        for name, mean in means.items()
      },
    }
    for label, means in MEANS.items()
  ]
  matrix = 0.80 + 0.04 * np.eye(raters) + rng.uniform(-0.01, 0.01, (raters, raters))
  edges = np.linspace(0, 1, 11)
  middle = (edges[:-1] + edges[1:]) / 2
  curve = {
    'edges': edges.tolist(),
    'confidence': middle.tolist(),
    'frequency': (middle**1.2).tolist(),
    'count': (1e5 * (0.02 + (middle - 0.5) ** 4)).round().tolist(),
  }
  worse = curve | {'frequency': (middle**1.7).tolist()}
  return {
    'split': 'test', 'num_samples': 16, 'protocol': 'standard', 'units': 400, 'cases': 400,
    'rater_order': 'identity', 'rows': rows, 'dice_matrix': {STAGES[1]: matrix.tolist()},
    'reliability': {STAGES[0]: worse, STAGES[1]: curve},
  }  # fmt: skip


def write_cases(path):
  rng = np.random.default_rng(2)
  lines = ['row,case,unit,ged,dice_soft']
  for label, means in MEANS.items():
    for unit in range(120):
      ged = rng.gamma(2.0, means['ged'] / 2)
      dice = '' if unit == 3 else f'{rng.beta(9, 9 / means["dice_soft"] - 9):.4f}'
      lines.append(f'{label},case_{unit // 2},image_{unit},{ged:.4f},{dice}')
  path.write_text('\n'.join(lines) + '\n')


def write_metrics(path):
  rng = np.random.default_rng(3)
  lines = []
  for step in range(0, 1200, 5):
    stage = ('diversify', 'personalize')[step >= 800]
    decay = math.exp(-step / 250)
    record = {'kind': 'train', 'stage': stage, 'step': step}
    record |= {'loss': 0.3 + decay + rng.normal(0, 0.05), 'kl': 3 * decay + 0.01}
    record |= {'cross_entropy': 0.1 + 0.5 * decay, 'learning_rate': 1e-3 * decay}
    record |= {'images_per_second': rng.normal(80, 4), 'data_wait_share': rng.uniform(0, 0.05)}
    lines.append(json.dumps(record))
    if step % 100 == 0:
      record = {'kind': 'validation', 'stage': stage, 'step': step}
      record |= {'loss': 0.35 + decay, 'ged': 0.2 + 0.4 * decay, 'dice_soft': 0.85 - 0.4 * decay}
      lines.append(json.dumps(record))
  path.write_text('\n'.join(lines) + '\n{"kind": "train", "step": 12')


def write_run(workdir):
  evaluation = workdir / 'evaluation'
  evaluation.mkdir(parents=True)
  (evaluation / 'summary.json').write_text(json.dumps(summary()))
  write_cases(evaluation / 'cases.csv')
  write_panels(evaluation / 'panels.npz')
  write_metrics(workdir / 'metrics.jsonl')
  worst = {'clean': 0.0, 'noise 0.05': 0.02, 'noise 0.10': 0.06, 'streaks': 0.04, 'blur': 0.03}
  entries = [
    {'condition': name, 'harmonizer': on, 'scores': {
      'ged': 0.2 + drop * (0.5 if on else 1), 'dice_soft': 0.86 - drop * (0.4 if on else 0.9)}}
    for name, drop in worst.items() for on in (True, False)
  ]  # fmt: skip
  files = {
    'evaluation/robustness.json': entries,
    'evaluation/step_curve.json': [
      {'steps': steps, 'used': steps == 10, 'records': 24,
       'ged': {'mean': ged, 'low': ged - 0.02, 'high': ged + 0.02}}
      for steps, ged in ((2, 0.25), (10, 0.18), (50, 0.17))
    ],
    'config.json': {'method': 'harmonized', 'stages': [{'name': 'diversify', 'steps': 800}]},
    'split.json': {
      'seed': 0, 'hash': 'a' * 64, 'train': [f'case_{i}' for i in range(2000)],
      'validation': [f'case_{i}' for i in range(2000, 2200)],
      'test': [f'case_{i}' for i in range(2200, 2600)],
    },
    'environment.json': {'python': '3.12.3', 'jax': '0.12.0', 'devices': '1 x cpu'},
    'fingerprint.json': {
      'name': 'phantom', 'hash': 'b' * 64, 'records': 2600, 'cases': 2600, 'num_classes': 2,
      'raters': ['strict', 'mean', 'generous', 'tremulous'], 'rater_identity': True,
    },
  }  # fmt: skip
  for name, content in files.items():
    (workdir / name).write_text(json.dumps(content))
  return workdir


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = write_run(tmp_path_factory.mktemp('runs') / 'harmonized_phantom')
  return report.write(workdir).parent


@pytest.fixture
def workdir(finished, tmp_path):
  return shutil.copytree(finished, tmp_path / 'run')


@pytest.fixture
def quick(monkeypatch):
  """Every chart is the same dot, for tests that look at words and files only."""
  dot = charts.draw(lambda axes: axes.plot(0, 0), 2.0, 2.0)
  monkeypatch.setattr(charts, 'draw', lambda *_: dot)
  monkeypatch.setattr(tiles, 'picture', lambda _: dot)


class Page(HTMLParser):
  """Collects what a browser would see."""

  VOID = ('meta', 'img', 'image', 'use', 'path', 'br')

  def __init__(self, text):
    super().__init__()
    self.tags, self.open, self.text = [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)

  def attributes(self, *names):
    return [value for _, attrs in self.tags for name, value in attrs.items() if name in names]


def read(workdir):
  return (workdir / 'report.html').read_text(encoding='utf-8')


def prose(workdir):
  return ' '.join(' '.join(Page(read(workdir)).text).split())


def change(path, **values):
  path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_every_section_is_there_and_the_page_is_well_formed(finished):
  parsed = Page(read(finished))
  assert parsed.open == []
  identifiers = parsed.attributes('id')
  assert len(identifiers) == len(set(identifiers))
  for title, *_ in page.SECTIONS:
    assert f'<h2>{title}</h2>' in read(finished)
  assert 'Not in this report' not in read(finished)


def test_nothing_is_loaded_from_outside_and_every_picture_has_a_text(finished):
  parsed = Page(read(finished))
  links = parsed.attributes('src', 'href')
  assert links
  cases = {link for link in links if link.startswith('report/case_')}
  assert cases and all((finished / link).is_file() for link in cases)
  rest = [link for link in links if link not in cases]
  assert all(link.startswith(('data:image/png;base64,', '#')) for link in rest)
  assert not re.search(r'url\(|@import|<script|<link', read(finished))
  targets = set(parsed.attributes('id'))
  assert all(link[1:] in targets for link in links if link.startswith('#'))
  pictures = [attrs for tag, attrs in parsed.tags if tag == 'img']
  assert all(len(attrs['alt']) > 20 for attrs in pictures)
  assert all(attrs['aria-label'] for tag, attrs in parsed.tags if tag == 'svg')


def test_size_is_reasonable_and_figures_are_png_files(finished):
  assert (finished / 'report.html').stat().st_size < 3e6
  names = {path.name for path in (finished / 'report').iterdir()}
  assert {'curve_loss.png', 'panel_00_typical.png', 'reliability.png', 'score_ged.png'} <= names
  assert {
    'dice_matrix_0.png',
    'distribution_ged.png',
    'robustness_ged.png',
    'step_curve.png',
  } <= names
  for path in (finished / 'report').glob('*.png'):
    Image.open(BytesIO(path.read_bytes())).verify()


def test_the_model_card_tells_what_the_run_knows(finished):
  card = (finished / 'model_card.md').read_text()
  assert card.startswith('# Model card: harmonized_phantom')
  assert '- method: harmonized' in card and '- records and cases: 2,600 of 2,600' in card
  assert '- cases by part: train 2,000, validation 200, test 400' in card
  assert f'| {STAGES[0]} | ' in card and '0.204 (95 % interval 0.192 to 0.216)' in card
  assert card.count('to be filled in by a person') == 4


def test_the_same_files_give_the_same_page(workdir, quick):
  report.write(workdir)
  first = read(workdir)
  report.write(workdir)
  assert read(workdir) == first


def test_the_same_numbers_give_the_same_chart():
  one, other = (charts.score_intervals(summary(), 'ged') for _ in range(2))
  assert one == other
  assert charts.score_intervals(summary(), 'dice_soft') != one


def test_table_order_best_model_bounds_and_verdict(finished):
  body = read(finished)
  heads = re.findall(r'<th scope="col" title="[^"]*">([^<]*?)&nbsp;[↓↑]?</th>', body)
  assert heads[:4] == ['GED', 'GED D\u2011Persona', 'Dice soft', 'Dice max']
  assert heads[4:8] == ['Dice match', 'Dice rater', 'Dice rater gap', 'ECE']
  rows = re.findall(r'<tr( class="[^"]*")?><th scope="row">([^<]*)', body)
  assert [label.strip() for _, label in rows[:4]] == [*STAGES, 'raters', 'oracle']
  assert [bool(css) for css, _ in rows[:4]] == [False, False, True, True]
  assert '<td><strong>0.204</strong><small>0.192 to 0.216</small></td>' in body
  assert '<td>0.231<small>' in body
  assert '<td>0.092<small>' in body  # a bound is never the best model
  assert (
    'stage 2: personalize has the lowest GED of 2 models, 0.204 (95 % interval 0.192 to 0.216); '
    'bounds: raters 0.272, oracle 0.092.' in prose(finished)
  )
  assert 'Personalization shows' in prose(finished)


def test_a_gap_that_includes_zero_is_not_called_personalization(workdir):
  content = summary()
  content['rows'][1]['scores']['dice_rater_gap'] = {'mean': 0.01, 'low': -0.01, 'high': 0.03}
  assert 'Personalization is not shown' in scores.verdict(content)
  content['rows'][1]['scores']['dice_rater_gap'] = {'mean': -0.02, 'low': -0.03, 'high': -0.01}
  assert 'Personalization misses' in scores.verdict(content)


def test_direction_decides_the_best_and_a_lone_model_is_not_bold():
  rows = [
    {'label': label, 'scores': {'ged': {'mean': a}, 'ncc': {'mean': a}, 'area_bias_1': {'mean': b}}}
    for label, a, b in (('a', 0.1, -0.3), ('b', 0.2, 0.2), ('c', math.nan, math.nan))
  ]
  assert [scores.best(rows, name) for name in ('ged', 'ncc', 'area_bias_1', 'ged_cross')] == [
    ['a'], ['b'], ['b'], [],
  ]  # fmt: skip
  assert scores.best(rows[:1], 'ged') == []


def test_numbers_are_short_and_never_minus_zero():
  written = [scores.text(value) for value in (0.12345, -0.5, -1e-9, 12.345, math.nan, math.inf)]
  assert written == ['0.123', '−0.500', '0.000', '12.3', '–', '–']


def test_hostile_names_are_text(workdir):
  nasty = '<script>alert("x")</script>&\'$\\frac{1}$ http://evil.example/"onload="x'
  content = summary()
  content['rows'][0]['label'] = nasty
  content['dice_matrix'] = {nasty: content['dice_matrix'][STAGES[1]]}
  content['rows'][0]['scores']['../../' + nasty] = {'mean': 1.0}
  (workdir / 'evaluation/summary.json').write_text(json.dumps(content))
  change(workdir / 'fingerprint.json', name=nasty, raters=[nasty, '_x', '$', '<b>'])
  change(workdir / 'config.json', method=nasty)
  change(workdir / 'environment.json', **{nasty: nasty})
  with np.load(workdir / 'evaluation/panels.npz') as archive:
    arrays = dict(archive)
  arrays['name'] = np.array([nasty] * 4)
  np.savez(workdir / 'evaluation/panels.npz', **arrays)
  with (workdir / 'metrics.jsonl').open('w') as file:
    record = {'kind': 'train', 'stage': nasty, 'loss': 1.0, '../' + nasty: 2.0}
    file.writelines(json.dumps(record | {'step': step}) + '\n' for step in (0, 1))
  report.write(workdir)
  parsed = Page(read(workdir))
  tags = {tag for tag, _ in parsed.tags}
  assert not tags & {'script', 'b'}
  assert not parsed.attributes('onload')
  known = ('data:', '#', 'report/case_')
  assert all(link.startswith(known) for link in parsed.attributes('src', 'href'))
  assert nasty in ''.join(parsed.text)
  assert not list(workdir.parent.glob('*.png'))
  assert all(re.fullmatch(r'\w+\.(png|html)', path.name) for path in (workdir / 'report').iterdir())


@pytest.mark.parametrize(
  ('file', 'title'),
  [
    ('metrics.jsonl', 'Learning curves'),
    ('evaluation/panels.npz', 'Panels'),
    ('evaluation/robustness.json', 'Robustness'),
    ('evaluation/step_curve.json', 'Steps of the sampler'),
    ('evaluation/cases.csv', 'Distribution over units'),
    ('environment.json', 'Environment'),
    ('config.json', 'Configuration'),
  ],
)
def test_a_missing_file_takes_its_section_and_leaves_a_note(workdir, quick, file, title):
  (workdir / file).unlink()
  report.write(workdir)
  assert f'<h2>{title}</h2>' not in read(workdir)
  assert f'<li>{title}: ' in read(workdir)


def test_scores_alone_make_a_report(workdir, quick):
  for path in workdir.rglob('*'):
    if path.is_file() and path.name not in ('summary.json', 'cases.csv'):
      path.unlink()
  report.write(workdir)
  assert 'Distribution over units' in read(workdir)
  assert Page(read(workdir)).open == []
  (workdir / 'evaluation/cases.csv').unlink()
  report.write(workdir)
  assert '0.204' in read(workdir)


def test_cases_alone_give_means_without_intervals(workdir, quick):
  (workdir / 'evaluation/summary.json').unlink()
  report.write(workdir)
  assert 'No intervals' in prose(workdir)
  assert STAGES[0] in prose(workdir)


def test_no_scores_at_all_is_one_clear_sentence(tmp_path):
  with pytest.raises(ValueError, match=r'nothing to report.*evaluate the run first\.$') as caught:
    report.write(tmp_path)
  assert '\n' not in str(caught.value)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ('file', 'content', 'message'),
  [
    ('evaluation/summary.json', '{"rows": [', 'not valid JSON'),
    ('evaluation/summary.json', '[]', 'must hold an object'),
    ('evaluation/cases.csv', 'case,ged\na,1\n', 'no column "row"'),
    ('evaluation/panels.npz', 'text', 'cannot be read'),
  ],
)
def test_a_damaged_file_is_named_and_the_old_report_stays(workdir, file, content, message):
  before = read(workdir)
  (workdir / file).write_text(content)
  with pytest.raises(ValueError, match=message) as caught:
    report.write(workdir)
  assert file.split('/')[-1] in str(caught.value)
  assert read(workdir) == before


def test_pickled_arrays_are_refused(workdir):
  np.savez(workdir / 'evaluation/panels.npz', image=np.array([{}], object))
  with pytest.raises(ValueError, match='cannot be read'):
    report.write(workdir)


def test_a_failed_write_leaves_the_old_page_and_no_remains(workdir, monkeypatch):
  before = read(workdir)

  def fail(*_):
    raise OSError('disk full')

  monkeypatch.setattr(page.os, 'replace', fail)
  with pytest.raises(OSError, match='disk full'):
    page.replace(workdir / 'report.html', b'half')
  assert read(workdir) == before
  assert not list(workdir.glob('.*'))


def test_figures_of_an_older_report_go(workdir, quick):
  (workdir / 'report/curve_old.png').write_bytes(b'')
  (workdir / 'report/mine.txt').write_text('kept')
  report.write(workdir)
  assert not (workdir / 'report/curve_old.png').exists()
  assert (workdir / 'report/mine.txt').exists()


def test_raters_without_identity_are_called_so(workdir, quick):
  assert 'not persons' not in prose(workdir)
  change(workdir / 'evaluation/summary.json', rater_order='area_rank')
  change(workdir / 'fingerprint.json', rater_identity=False)
  report.write(workdir)
  assert 'area ranks (smallest mask first), not persons' in prose(workdir)
  assert 'area rank 1 (smallest)' in prose(workdir)
  run = page.read_run(workdir)
  slots = run._replace(summary=run.summary | {'rater_order': 'slot'})
  assert 'slots, not persons' in part.identity_warning(slots)
  assert part.raters(slots, 2) == ['slot 1', 'slot 2']


def test_leak_check_counts_the_lists_themselves(finished):
  assert 'no case stands in two parts' in prose(finished)
  assert '2,000' in prose(finished)
  leaked = provenance.leak_check({'train': ['a', 'b'], 'test': ['b', 'c']})
  assert 'LEAK' in leaked
  assert '1 in train and test' in leaked


def test_split_is_found_wherever_it_is_kept():
  flat = {'hash': 'x', 'test': ['c'], 'train': ['a', 'b']}
  for split in (flat, {'hash': 'x', 'parts': flat}, {name: {'cases': flat[name]} for name in flat
                if name != 'hash'}):  # fmt: skip
    assert provenance.split_cases(split) == {'train': ['a', 'b'], 'test': ['c']}
  assert provenance.split_cases({}) == {}


def test_change_against_clean_is_taken_within_one_harmonizer_setting():
  entries = [
    {'condition': 'clean', 'harmonizer': True, 'scores': {'ged': 0.2}},
    {'condition': 'clean', 'harmonizer': False, 'scores': {'ged': 0.3}},
    {'condition': 'blur', 'harmonizer': True, 'scores': {'ged': 0.25}},
    {'condition': 'blur', 'harmonizer': False, 'scores': {'ged': 0.5}},
    {'condition': 'noise', 'harmonizer': True, 'scores': {}},
  ]
  changed = sturdiness.changes(entries, 'ged')
  assert list(changed) == ['blur']
  assert changed['blur'][True] == pytest.approx(0.05)
  assert changed['blur'][False] == pytest.approx(0.2)


def test_resumed_and_broken_log_lines(tmp_path):
  records = [
    {'kind': 'train', 'stage': 'a', 'step': 0, 'loss': 5.0},
    {'kind': 'train', 'stage': 'a', 'step': 1, 'loss': math.nan},
    {'kind': 'train', 'stage': 'a', 'step': 0, 'loss': 4.0},
    {'kind': 'train', 'stage': 'b', 'step': 2, 'loss': 3.0},
  ]
  steps, values = charts.series(records, 'train', 'loss')
  assert (steps.tolist(), values.tolist()) == ([0, 2], [4.0, 3.0])
  assert charts.stage_spans(records) == [(0, 2, 'a', False), (2, 2, 'b', True)]


def area(loops):
  total = 0
  for loop in loops:
    for (x, y), (to_x, to_y) in zip(loop, loop[1:] + loop[:1], strict=True):
      total += x * to_y - to_x * y
  return total / 2


@pytest.mark.parametrize('seed', range(5))
def test_outlines_enclose_exactly_the_region(seed):
  region = np.random.default_rng(seed).random((9, 13)) < 0.2 + 0.15 * seed
  loops = outlines.polygons(region)
  assert area(loops) == region.sum()  # holes run the other way round
  for loop in loops:
    for (x, y), (to_x, to_y) in zip(loop, loop[1:] + loop[:1], strict=True):
      assert (x == to_x) != (y == to_y)


def test_outline_of_a_square_has_four_corners_and_an_empty_one_none():
  region = np.zeros((6, 6), bool)
  assert outlines.polygons(region) == []
  region[1:4, 2:5] = True
  assert sorted(outlines.polygons(region)[0]) == [(2, 1), (2, 4), (5, 1), (5, 4)]


def test_panels_say_who_did_not_draw_and_thin_out_large_pictures(tmp_path):
  write_panels(tmp_path / 'panels.npz', size=300, samples=3)
  with np.load(tmp_path / 'panels.npz') as archive:
    shown = panels.panels(dict(archive), ['a', 'b', 'c', 'd'])
  titles = [tile.title for tiles in shown[1].groups.values() for tile in tiles]
  assert 'c: did not draw' in titles
  assert 'votes of 3 of 4 raters' in titles
  assert any(title.startswith('a: empty mask') for title in
             (tile.title for tiles in shown[3].groups.values() for tile in tiles))  # fmt: skip
  assert all(
    tile.pixels.shape[:2] == (150, 150) for tiles in shown[0].groups.values() for tile in tiles
  )


def test_panels_without_personalized_outputs_in_color_with_two_classes(workdir, quick):
  with np.load(workdir / 'evaluation/panels.npz') as archive:
    arrays = dict(archive)
  del arrays['personalized']
  arrays['image'] = np.repeat(arrays['image'], 3, -1)
  arrays['masks'][:, 0, 30:34, 30:34] = 2
  np.savez(workdir / 'evaluation/panels.npz', **arrays)
  report.write(workdir)
  assert 'Personalized outputs' not in read(workdir)
  assert 'stroke-dasharray' in read(workdir)
  shown = panels.panels(arrays, ['a', 'b', 'c', 'd'])
  assert shown[0].groups['Image and agreement'][0].pixels.shape == (64, 64, 3)
  Image.open(BytesIO(DRAW_PANEL(shown[0]))).verify()
