import nibabel
import numpy as np
import pytest

from multirater_jax.data.errors import DataError
from multirater_jax.data.source import Source
from tfds_builders import prepare, read_info
from tfds_builders.folder.dummy_data import mask, save
from tfds_builders.folder.dummy_data import shown as image


def two_raters(folder, suffix='.png', *, first=None, second=None, shown=None):
  save(folder / 'images' / f'a{suffix}', image() if shown is None else shown)
  save(folder / 'rater_1' / f'a{suffix}', mask() if first is None else first)
  save(folder / 'rater_2' / f'a{suffix}', mask(rows=3) if second is None else second)
  return folder


def build(tmp_path, **options):
  return Source(prepare('folder', tmp_path / 'data', manual_dir=tmp_path / 'manual', **options))


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.TIFF', '.nii', '.nii.gz'])
def test_formats_give_the_drawn_masks(tmp_path, suffix):
  two_raters(tmp_path / 'manual', suffix)
  source = build(tmp_path)
  (line,) = source.info.records
  assert line['areas'] == [24, 36]
  assert (line['name'], line['case'], line['size']) == ('a', 'a', [10, 12])
  assert source.rater_order == 'identity'
  spacing = source[0]['spacing']
  np.testing.assert_allclose(spacing, (0.5, 0.7) if 'nii' in suffix else (np.nan, np.nan))


def test_color_jpeg_with_png_masks(tmp_path):
  two_raters(tmp_path / 'manual')
  (tmp_path / 'manual' / 'images' / 'a.png').unlink()
  save(tmp_path / 'manual' / 'images' / 'a.jpg', image((10, 12, 3), 90))
  assert build(tmp_path)[0]['image'].shape == (10, 12, 3)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_sixteen_bits_are_kept_and_eight_are_scaled_beside_them(tmp_path, suffix):
  two_raters(tmp_path / 'manual', suffix, shown=image(value=40000, dtype=np.uint16))
  save(tmp_path / 'manual' / 'images' / 'b.png', image(value=255))
  save(tmp_path / 'manual' / 'rater_1' / 'b.png', mask())
  source = build(tmp_path)
  tops = {
    line['name']: source[index]['image'].max() for index, line in enumerate(source.info.records)
  }
  assert source[0]['image'].dtype == np.uint16
  assert tops == {'a': 40000, 'b': 65535}


def test_missing_masks_are_not_annotated_and_bare_images_are_left_out(tmp_path, caplog):
  two_raters(tmp_path / 'manual')
  save(tmp_path / 'manual' / 'images' / 'b.png', image((7, 8)))
  save(tmp_path / 'manual' / 'rater_2' / 'b.png', mask((7, 8), rows=0))
  save(tmp_path / 'manual' / 'images' / 'c.png', image())
  save(tmp_path / 'manual' / 'rater_2' / 'stray.png', mask())
  source = build(tmp_path)
  areas = {line['name']: line['areas'] for line in source.info.records}
  assert areas == {'a': [24, 36], 'b': [None, 0]}
  assert '1 images without any mask' in caplog.text
  assert '1 mask names belong to no image' in caplog.text


def test_volumes_become_slices_of_one_case(tmp_path):
  shown = np.arange(10 * 12 * 3, dtype=np.int16).reshape(10, 12, 3)
  drawn = np.zeros((10, 12, 3), np.uint8)
  drawn[:, 0, 1] = 1
  two_raters(tmp_path / 'manual', '.nii.gz', shown=shown, first=drawn, second=drawn * 0)
  source = build(tmp_path, window=(0, 359))
  areas = {line['name']: line['areas'] for line in source.info.records}
  assert areas == {f'a/slice-000{k}': [10 if k == 1 else 0, 0] for k in range(3)}
  assert set(source.info.cases) == {'a'}
  for index, line in enumerate(source.info.records):
    expected = shown[:, :, int(line['name'][-1])] / 359
    np.testing.assert_allclose(source[index]['image'][..., 0] / 65535, expected, atol=1e-4)


def test_raters_are_in_natural_order_under_their_names(tmp_path):
  two_raters(tmp_path / 'manual')
  for name in ('10', 'anna'):
    save(tmp_path / 'manual' / f'rater_{name}' / 'a.png', mask())
  assert build(tmp_path).raters == ['rater 1', 'rater 2', 'rater 10', 'anna']


def test_classes_are_the_values_of_the_mask(tmp_path):
  drawn = mask(value=2)
  drawn[5] = 1
  two_raters(tmp_path / 'manual', first=drawn)
  source = build(tmp_path, num_classes=3)
  np.testing.assert_array_equal(source[0]['masks'][0], drawn)
  assert source.info.num_classes == 3
  with pytest.raises(DataError, match=r'rater_1.a\.png has the values 0, 1, 2; with num_classes=2'):
    build(tmp_path)


def test_case_pattern_names_the_case(tmp_path):
  for stem in ('Image_01L', 'Image_01R', 'Image_02L'):
    save(tmp_path / 'manual' / 'images' / f'{stem}.png', image())
    save(tmp_path / 'manual' / 'rater_1' / f'{stem}.png', mask())
  assert sorted(build(tmp_path, case_pattern=r'Image_(\d+)').info.cases) == ['01', '01', '02']
  assert sorted(build(tmp_path, case_pattern=r'\d+').info.cases) == ['01', '01', '02']
  assert len(set(build(tmp_path).info.cases)) == 3
  with pytest.raises(DataError, match='finds no case in the name'):
    build(tmp_path, case_pattern=r'patient(\d+)')


@pytest.mark.parametrize(
  'changes,options,message',
  [
    ({'first': mask((9, 12))}, {}, r'rater_1.a\.png has shape 9 x 12 but .*images.a\.png'),
    ({'first': mask(value=4)}, {'num_classes': 3}, 'only 0 to 2 are classes'),
    ({'first': np.arange(120, dtype=np.uint8).reshape(10, 12)}, {}, r'\(120 in all\)'),
    ({'first': np.arange(360, dtype=np.uint8).reshape(10, 12, 3)}, {}, 'color image'),
    ({}, {'num_classes': 1}, 'num_classes is 1'),
    ({}, {'window': (3, 1)}, 'window'),
    ({}, {'case_pattern': '('}, 'no regular expression'),
    ({}, {'classes': 2}, "no option 'classes'; it has manual_dir, layout, num_classes"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(tmp_path, changes, options, message):
  two_raters(tmp_path / 'manual', **changes)
  with pytest.raises(DataError, match=message):
    build(tmp_path, **options)
  assert not list(tmp_path.rglob('records.json'))


def test_other_geometry_is_refused(tmp_path):
  two_raters(tmp_path / 'manual', '.nii')
  path = tmp_path / 'manual' / 'rater_2' / 'a.nii'
  nibabel.save(nibabel.Nifti1Image(mask(), np.eye(4)), path)
  with pytest.raises(DataError, match=r'rater_2.a\.nii and .*images.a\.nii have other affine'):
    build(tmp_path)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif', '.nii', '.nii.gz'])
@pytest.mark.parametrize('content', [b'', b'garbage'])
def test_broken_files_are_named(tmp_path, suffix, content):
  two_raters(tmp_path / 'manual')
  (tmp_path / 'manual' / 'images' / 'a.png').unlink()
  (tmp_path / 'manual' / 'images' / f'a{suffix}').write_bytes(content)
  with pytest.raises(DataError, match=f'Cannot read .*images.a{suffix}'):
    build(tmp_path)


def test_a_truncated_volume_is_named(tmp_path):
  noise = np.random.default_rng(0).integers(0, 99, (30, 30, 9)).astype(np.int16)
  drawn = np.zeros(noise.shape, np.uint8)
  two_raters(tmp_path / 'manual', '.nii.gz', shown=noise, first=drawn, second=drawn)
  path = tmp_path / 'manual' / 'images' / 'a.nii.gz'
  path.write_bytes(path.read_bytes()[:-2000])
  with pytest.raises(DataError, match='Cannot read'):
    build(tmp_path)


@pytest.mark.parametrize('missing', ['images', 'rater_1'])
def test_a_wrong_layout_says_what_was_looked_for(tmp_path, missing):
  for name in {'images', 'rater_1'} - {missing}:
    save(tmp_path / 'manual' / name / 'a.png', mask())
  with pytest.raises(DataError, match=r'images/ and one folder .* was looked for'):
    build(tmp_path)


def test_names_that_do_not_match_are_refused(tmp_path):
  two_raters(tmp_path / 'manual')
  path = tmp_path / 'manual' / 'rater_2' / 'a.png'
  path.rename(path.with_name('a_mask.png'))
  with pytest.raises(DataError, match='No file in rater_2/ has the name of an image'):
    build(tmp_path)


def test_gray_and_color_images_do_not_mix(tmp_path):
  two_raters(tmp_path / 'manual')
  save(tmp_path / 'manual' / 'images' / 'b.png', image((10, 12, 3)))
  save(tmp_path / 'manual' / 'rater_1' / 'b.png', mask())
  with pytest.raises(DataError, match=r'a\.png is gray and .*b\.png is in color'):
    build(tmp_path)


def test_changed_sources_and_options_never_reuse_a_set(tmp_path):
  two_raters(tmp_path / 'manual')
  first = build(tmp_path)
  assert build(tmp_path).directory == first.directory
  assert build(tmp_path, case_pattern='a').directory != first.directory
  save(tmp_path / 'manual' / 'rater_2' / 'a.png', mask(rows=5))
  second = build(tmp_path)
  assert second.directory != first.directory
  assert second.info.hash != first.info.hash
  assert read_info(first.directory).records[0]['areas'] == [24, 36]


def test_volumes_without_orientation_are_told(tmp_path, caplog):
  two_raters(tmp_path / 'manual', '.nii')
  for path in (tmp_path / 'manual').rglob('*.nii'):
    stored = nibabel.load(path)
    array = np.asarray(stored.dataobj)
    stored.header.set_sform(None, 0)
    stored.header.set_qform(None, 0)
    nibabel.save(nibabel.Nifti1Image(array, None, stored.header), path)
  source = build(tmp_path)
  assert '1 volumes without orientation in the header (identity geometry)' in caplog.text
  assert 'volumes without orientation' in (source.directory / 'counts.json').read_text()
  np.testing.assert_allclose(source[0]['spacing'], (0.5, 0.7))


def test_a_mask_of_four_axes_is_refused_with_its_image(tmp_path):
  two_raters(tmp_path / 'manual', '.nii', first=np.zeros((10, 12, 1, 2), np.uint8))
  with pytest.raises(DataError, match=r'rater_1.a\.nii has shape .* a mask of .*images.a\.nii'):
    build(tmp_path)
