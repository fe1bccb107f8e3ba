import numpy as np
from PIL import Image

from multirater_jax.report import mosaic


def test_a_row_shows_image_votes_mean_and_outputs(tmp_path):
  image = np.full((6, 8, 10, 1), 0.5, np.float32)
  masks = np.zeros((6, 2, 8, 10), np.uint8)
  masks[:, 0] = 2
  annotated = np.array([[True, True]] * 5 + [[False, False]])
  probs = np.zeros((6, 3, 8, 10, 2), np.float32)
  probs[:, :2, ..., 1], probs[:, 2, ..., 0] = 1, 1
  path = tmp_path / 'a.png'
  mosaic.write(path, image, masks, annotated, probs)
  shown = np.asarray(Image.open(path))
  height, width, columns = 8 + 2, 10 + 2, 3 + 3
  assert shown.shape == (4 * height, columns * width)
  first = [shown[0, column * width] for column in range(columns)]
  assert first == [128, 128, 170, 255, 255, 0]
  assert (shown[8] == 128).all()  # the frame between the rows
  assert list(tmp_path.iterdir()) == [path]
