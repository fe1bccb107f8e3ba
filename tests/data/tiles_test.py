import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multirater_jax.data.errors import DataError
from multirater_jax.data.tiles import eval_batches, list_tiles, num_eval_batches


def everything(source):
  return np.arange(len(source))


@settings(deadline=None, max_examples=15)
@given(
  size=st.integers(5, 40),
  batch_size=st.integers(1, 9),
  margin=st.integers(0, 2),
  parts=st.integers(1, 3),
)
def test_tiles_score_every_pixel_once_over_all_processes(tiny, size, batch_size, margin, parts):
  valid, foreground, owner = collections.Counter(), collections.Counter(), {}
  for process in range(parts):
    for batch in eval_batches(
      tiny, everything(tiny), batch_size=batch_size, size=size, crop='tile', margin=margin,
      process_index=process, process_count=parts,
    ):  # fmt: skip
      assert batch['image'].shape == (batch_size, size, size, 1)
      for row, index in enumerate(batch['index'].tolist()):
        valid[index] += batch['valid'][row].sum()
        foreground[index] += (batch['masks'][row] * batch['valid'][row]).sum()
        if index >= 0:
          assert owner.setdefault(index, process) == process
  assert valid.pop(-1, 0) == 0
  assert sorted(valid) == list(range(len(tiny)))
  for index in range(len(tiny)):
    masks = tiny[index]['masks']
    assert valid[index] == masks[0].size
    assert foreground[index] == masks.sum()


def test_tiles_reassemble_the_image(tiny):
  size = 16
  seen = {
    index: np.full(tiny[index]['masks'].shape[1:], np.nan, np.float32) for index in range(len(tiny))
  }
  rows = [
    (batch['image'][row], batch['valid'][row])
    for batch in eval_batches(tiny, everything(tiny), batch_size=1, size=size, crop='tile')
    for row in range(1)
  ]
  for (image, valid), (index, down, across) in zip(
    rows, list_tiles(tiny, everything(tiny), size=size, crop='tile'), strict=True
  ):
    area = seen[index][down.start : down.start + size, across.start : across.start + size]
    area[valid] = image[..., 0][valid]
  for index, image in seen.items():
    np.testing.assert_allclose(image, tiny[index]['image'][..., 0] / np.float32(255))


@pytest.mark.parametrize('parts', [1, 2, 3])
def test_center_shows_every_record_once_and_processes_agree_on_the_number_of_batches(tiny, parts):
  seen = []
  for process in range(parts):
    batches = list(
      eval_batches(
        tiny,
        everything(tiny),
        batch_size=4,
        size=24,
        crop='center',
        process_index=process,
        process_count=parts,
      )
    )
    expected = num_eval_batches(
      tiny, everything(tiny), batch_size=4, size=24, crop='center', process_count=parts
    )
    assert len(batches) == expected
    for batch in batches:
      padding = batch['index'] < 0
      assert not batch['annotated'][padding].any()
      assert not batch['valid'][padding].any()
      assert (batch['case'][padding] == -1).all()
      assert batch['annotated'][~padding].any(axis=1).all()
      seen += batch['index'][~padding].tolist()
  assert sorted(seen) == list(range(len(tiny)))


def test_more_processes_than_records_give_padding(tiny):
  (batch,) = eval_batches(
    tiny, np.array([4]), batch_size=2, size=8, crop='center', process_index=1, process_count=2
  )
  assert batch['index'].tolist() == [-1, -1]
  assert not list(eval_batches(tiny, np.array([], int), batch_size=2, size=8, crop='center'))


def test_a_padded_border_is_not_valid(tiny):
  (batch,) = eval_batches(tiny, np.array([0]), batch_size=1, size=80, crop='center')
  height, width = tiny.info.records[0]['size']
  assert batch['valid'].sum() == height * width


def test_bad_settings_are_refused(tiny):
  with pytest.raises(DataError, match='center, tile'):
    list_tiles(tiny, everything(tiny), size=8, crop='random')
  with pytest.raises(DataError, match='margin'):
    list_tiles(tiny, everything(tiny), size=8, crop='tile', margin=4)
