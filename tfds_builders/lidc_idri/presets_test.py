import numpy as np

from tfds_builders.lidc_idri.presets import AIR, WINDOWS, crop, native_origin, resample, to_gray


def test_windows():
  hounsfield = np.array([[-2048, -1000, -300, 400, 3000]], np.float32)
  np.testing.assert_array_equal(to_gray(hounsfield, WINDOWS['lung']), [[0, 0, 127, 255, 255]])
  gray = to_gray(hounsfield, WINDOWS['lung'], 16)
  assert gray.dtype == np.uint16
  np.testing.assert_array_equal(gray, [[0, 0, 32767, 65535, 65535]])
  np.testing.assert_array_equal(to_gray(hounsfield, None)[0, [0, -1]], [0, 255])
  np.testing.assert_array_equal(to_gray(np.full((2, 2), 7.0), None), np.zeros((2, 2)))


def test_own_window_keeps_what_spans_it():
  gray = np.arange(256, dtype=np.float32)[None]
  np.testing.assert_array_equal(to_gray(gray - 1024, None), gray)


def test_origin_stays_in_the_image():
  assert native_origin((256.9, 100.0), 128, (512, 512)) == (192, 36)
  assert native_origin((3.0, 510.0), 128, (512, 512)) == (0, 383)
  assert native_origin((30.0, 30.0), 128, (100, 100)) == (0, 0)


def test_small_images_get_air():
  part = crop(np.ones((100, 120), np.float32), (0, 0), 128)
  assert part.shape == (128, 128)
  assert (part[100:] == AIR).all()
  assert (part[:100, :120] == 1).all()


def test_resampling_keeps_places_and_areas():
  rows, columns = np.mgrid[:200, :200].astype(np.float32)
  center, ratio, size = (90.0, 110.0), (0.5 / 0.8, 0.5 / 0.7), 181
  ramp = resample(rows * 3 + columns, center, ratio, size)
  assert ramp[90, 90] == 3 * 90 + 110
  np.testing.assert_allclose(ramp[100, 90], 3 * (90 + 10 * ratio[0]) + 110, rtol=1e-5)
  disk = np.hypot(rows - 90, columns - 110) < 30
  mask = resample(disk, center, ratio, size)
  assert mask.dtype == np.bool_
  assert abs(mask.sum() * ratio[0] * ratio[1] / disk.sum() - 1) < 0.01


def test_resampling_beyond_the_border_is_air():
  part = resample(np.zeros((60, 60), np.float32), (0.0, 0.0), (1.0, 1.0), 21)
  assert (part[:10] == AIR).all()
  assert (part[10:, 10:] == 0).all()
