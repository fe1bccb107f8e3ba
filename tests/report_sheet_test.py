"""The sheet of pictures, and what the report says of the data."""

import io

import numpy as np
import pytest
from PIL import Image

from multirater_jax.report import records, sheet
from multirater_jax.report.sheet import Shown


def shown(size=(40, 60), raters=3, channels=1, title='one'):
  image = np.random.default_rng(0).random((*size, channels), np.float32)
  masks = np.zeros((raters, *size), np.uint8)
  for rater in range(raters):
    masks[rater, 5 + rater : 15, 5 : 20 + rater] = 1
  return Shown(title, image, masks, np.ones(raters, bool))


def draw(cells, raters):
  return np.asarray(Image.open(io.BytesIO(sheet.draw_sheet(cells, raters, title='set'))))


def test_a_sheet_shows_every_rater(tmp_path):
  cells = [shown(), shown(channels=3), shown(title='a name of many letters ' * 9), shown(), shown()]
  sheet.write_sheet(tmp_path / 'sheet.png', cells, ['a', '_b', '$c$'], title='set')
  assert [path.name for path in tmp_path.iterdir()] == ['sheet.png']
  all_colors = draw([shown()], ['a', 'b', 'c'])[..., :3].reshape(-1, 3).tolist()
  for color in ((230, 159, 0), (86, 180, 233), (204, 121, 167)):
    assert list(color) in all_colors
  one = shown()._replace(annotated=np.array([True, False, False]))
  picture, plain = draw([one], ['a']), draw([one._replace(annotated=np.zeros(3, bool))], ['a'])
  assert (picture != plain).any()


def test_nothing_marked_is_shown_too():
  empty = shown()._replace(masks=np.zeros((3, 40, 60), np.uint8), annotated=np.zeros(3, bool))
  assert draw([empty], ['a', 'b', 'c']).size


def cut(marked):
  rows, columns = sheet.window(marked[None])
  return marked[rows, columns]


@pytest.mark.parametrize('place', [(0, 0), (390, 590), (200, 300), (0, 590)])
def test_the_window_holds_a_small_mark_with_what_is_around(place):
  marked = np.zeros((400, 600), np.uint8)
  marked[place[0] : place[0] + 10, place[1] : place[1] + 10] = 1
  part = cut(marked)
  assert part.shape == (sheet.LEAST, sheet.LEAST)
  assert part.sum() == 100


def test_the_window_of_a_large_mark_is_bounded_and_lies_where_most_is():
  marked = np.zeros((900, 900), np.uint8)
  marked[0, 0] = marked[899, 899] = 1
  marked[600:700, 200:300] = 1
  part = cut(marked)
  assert part.shape == (sheet.MOST, sheet.MOST)
  assert part.sum() == 100 * 100


@pytest.mark.parametrize('shape', [(10, 12), (30, 500), (1, 1)])
def test_an_image_smaller_than_the_window_is_shown_whole(shape):
  rows, columns = sheet.window(np.ones((2, *shape), np.uint8))
  assert (min(rows.stop, shape[0]) - rows.start) == min(shape[0], sheet.MOST)
  assert (min(columns.stop, shape[1]) - columns.start) == min(shape[1], sheet.MOST)


FINGERPRINT = {
  'version': 1,
  'name': 'set',
  'hash': 'f' * 64,
  'records_by_raters': {'1': 3, '2': 1200},
  'size': {'height': [64.0, 64.0, 64.0], 'width': [32.0, 40.0, 80.0]},
  'spacing': {'row': None, 'column': [0.5, 0.5, 0.7]},
  'rater_statistics': [
    {'rater': '<b>', 'annotated': 1203, 'empty': 0, 'area': 12.5, 'area_ratio': None},
    {'rater': 'second', 'annotated': 3, 'empty': 1, 'area': None, 'area_ratio': 1.25},
  ],
  'rater_effect': {
    'area': {'share': 0.8, 'low': 0.7, 'high': 0.85, 'chance': 0.04, 'between': 0.7},
    'compactness': None,
  },
  'dice': {'images': 1200, 'mean': 0.612, 'deviation': None, 'pairs': [[1, 0.6], [0.6, 1]]},
  'intensity': [{'minimum': 0.0, 'maximum': 255.0}],
  'personalization': 'Who drew explains 80% of it.',
}


def test_the_report_shows_the_fingerprint():
  plain, tables = records.split_facts(FINGERPRINT)
  assert plain == {
    'name': 'set',
    'hash': 'f' * 64,
    'records by number of raters': '1: 3, 2: 1200',
    'height (pixels)': '64',
    'width (pixels)': '32 to 80, median 40',
    'column (mm)': '0.5 to 0.7, median 0.5',
  }
  for text in ('Who drew explains 80% of it.', '80% (70% to 85%)', '0.612', '1,203', '255', '–'):
    assert text in tables
  assert '<b>' not in tables
  assert '&lt;b&gt;' in tables
  assert 'compactness' not in tables.split('Variance within images')[1].split('<h3>')[0]


def test_a_fingerprint_of_few_words_is_shown_as_before():
  few = {'name': 'set', 'raters': ['a', 'b'], 'num_classes': 2}
  assert records.split_facts(few) == (few, '')
