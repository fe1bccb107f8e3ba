import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multirater_jax import style_prompts
from multirater_jax.style_prompts import AREAS, OUTLINES, cell_of

style_cells = jax.jit(style_prompts.style_cells)


def square(side):
  mask = np.zeros((24, 24), np.uint8)
  mask[4 : 4 + side, 4 : 4 + side] = 1
  return mask


def comb(height):
  """Stripes of one pixel joined at one end."""
  mask = np.zeros((24, 24), np.uint8)
  mask[4 : 4 + height, 4:16:2] = 1
  mask[4, 4:15] = 1
  return mask


def cells(*masks, annotated=None):
  annotated = np.ones(len(masks), bool) if annotated is None else annotated
  return list(style_cells(jnp.asarray(np.stack(masks))[None], jnp.asarray(annotated)[None])[0])


def test_areas_are_told_from_each_other():
  found = cells(square(6), square(10), square(12))  # ratios .39, 1.07, 1.54
  assert found == [cell_of(area) for area in AREAS]


def test_outlines_are_told_from_each_other():
  found = cells(square(8), comb(9))  # 64 and 59 pixels
  assert found == [cell_of('typical', 'smooth'), cell_of('typical', 'ragged')]


def test_area_and_perimeter_by_hand():
  masks = jnp.asarray(np.stack([square(5), comb(3), np.zeros((24, 24))]) > 0)[None]
  area, perimeter = style_prompts.area_and_perimeter(masks)
  np.testing.assert_array_equal(area[0], [25, 11 + 6 * 2, 0])
  np.testing.assert_array_equal(perimeter[0], [20, 2 * 11 + 2 + 6 * 4, 0])


def test_raters_who_agree_and_a_rater_alone_are_typical():
  assert cells(square(7), square(7)) == [cell_of('typical')] * 2
  assert cells(square(7)) == [cell_of('typical')]


@pytest.mark.parametrize('absent', [square(20), comb(18), square(0)])
def test_an_absent_rater_changes_nobody(absent):
  expected = cells(square(6), square(10))
  assert cells(square(6), square(10), absent, annotated=[True, True, False])[:2] == expected


def test_an_empty_mask_is_conservative_among_others_and_typical_among_empty_ones():
  found = cells(square(0), square(8), square(8))
  assert found == [cell_of('conservative'), cell_of('typical'), cell_of('typical')]
  assert cells(square(0), square(0)) == [cell_of('typical')] * 2


def test_classes_are_united():
  two = square(12) * 2
  two[4:8] //= 2
  assert cells(square(6), two) == cells(square(6), square(12))


def test_every_cell_has_as_many_paraphrases_and_none_is_in_both_splits():
  train, test = style_prompts.paraphrases('train'), style_prompts.paraphrases('test')
  assert len(train) == len(test) == style_prompts.NUM_CELLS == len(AREAS) * len(OUTLINES)
  flat = [{prompt for cell in split for prompt in cell} for split in (train, test)]
  assert not flat[0] & flat[1]
  for split in (train, test):
    assert len({len(cell) for cell in split}) == 1
    assert len({prompt for cell in split for prompt in cell}) == sum(map(len, split))


def test_table_holds_the_embeddings_of_the_cells():
  table = style_prompts.embeddings('test', dim=64)
  place = cell_of('generous', 'ragged')
  prompt = style_prompts.paraphrases('test')[place][1]
  assert 'contour' in prompt and 'spiky' in prompt
  np.testing.assert_array_equal(table[place, 1], style_prompts.text.embed([prompt], dim=64)[0])
  assert table.shape == (9, 5, 64)
