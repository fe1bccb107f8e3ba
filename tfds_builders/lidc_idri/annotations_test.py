import itertools
import pathlib
import time

import numpy as np
import pytest

from multirater_jax.data.errors import DataError
from tfds_builders.lidc_idri import annotations
from tfds_builders.lidc_idri.annotations import Reading, Skipped, read_annotations
from tfds_builders.lidc_idri.download import pick, read_download
from tfds_builders.lidc_idri.dummy_data import Roi, annotation_xml, circle

SQUARE = [(10, 10), (10, 11), (10, 12), (11, 12), (12, 12), (12, 11), (12, 10), (11, 10)]


@pytest.fixture
def read(tmp_path):
  def write_and_read(text, encoding='utf-8'):
    path = tmp_path / 'file.xml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_annotations(path)

  return write_and_read


def _one(*rois):
  return annotation_xml('1.2.3', [{'a': rois}])


def test_content(read):
  sessions = [
    {'a': [Roi(1.5, SQUARE, '9.9'), Roi(4, SQUARE, inclusion='false')]},
    {'b': [Roi(2, [(7, 8)])]},
  ]
  reading = read(annotation_xml('1.2.3', sessions))
  assert reading.series_uid == '1.2.3'
  assert reading.sessions == 2
  (nodule,) = reading.annotations
  assert (nodule.session, nodule.name, nodule.ratings) == (0, 'a', (('malignancy', 3),))
  assert [(one.z, one.sop_uid, one.inclusion) for one in nodule.outlines] == [
    (1.5, '9.9', True),
    (4.0, '', False),
  ]
  np.testing.assert_array_equal(nodule.outlines[0].points, SQUARE)
  (mark,) = reading.marks
  assert (mark.session, mark.small_nodule, mark.z, mark.row, mark.column) == (1, True, 2.0, 7, 8)
  assert not reading.defects
  with pytest.raises(ValueError, match='read-only'):
    nodule.outlines[0].points[0] = 0


def test_non_nodule(read):
  mark = (
    '<nonNodule><nonNoduleID>x</nonNoduleID><imageZposition>{}</imageZposition>'
    '<locus><xCoord>4</xCoord><yCoord>5</yCoord></locus></nonNodule>'
  )
  text = annotation_xml('1', [{}]).replace(
    '<readingSession>', '<readingSession>' + mark.format('3') + mark.format('?')
  )
  reading = read(text)
  (found,) = reading.marks
  assert (found.small_nodule, found.row, found.column) == (False, 5, 4)
  assert reading.defects == {'mark': 1}


def test_speed(shared):
  files = sorted((shared / 'lidc_xml').glob('*.xml'))
  seconds = []
  for _ in range(3):  # the fastest: other programs share the machine
    start = time.process_time()
    assert all(isinstance(read_annotations(path), Reading) for path in files)
    seconds.append(time.process_time() - start)
  assert len(files) / min(seconds) > 20


# X1: entities that multiply


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_entity_bombs(read, bounded, encoding):
  names = ['lol', *(f'lol{n}' for n in range(1, 10))]
  bomb = '<!ENTITY lol "lol">' + ''.join(
    f'<!ENTITY {name} "{10 * f"&{before};"}">' for before, name in itertools.pairwise(names)
  )
  quadratic = f'<!ENTITY a "{"a" * 100_000}">'
  for entities, body in ((bomb, '&lol9;'), (quadratic, '&a;' * 50_000)):
    with bounded(seconds=1, megabytes=50), pytest.raises(DataError, match='document type'):
      read(f'<!DOCTYPE x [{entities}]><x>{body}</x>', encoding)


# X2: external entities


def test_external_entity(read, tmp_path):
  secret = tmp_path / 'secret'
  secret.write_text('do not tell')
  for entity in (f'SYSTEM "file://{secret}"', 'PUBLIC "x" "http://127.0.0.1/x"'):
    with pytest.raises(DataError) as caught:
      read(f'<!DOCTYPE x [<!ENTITY e {entity}>]><x>&e;</x>')
    assert 'do not tell' not in str(caught.value)


# X3: deep and wide


def test_depth_and_size(read, bounded, monkeypatch):
  with bounded(seconds=1, megabytes=50), pytest.raises(DataError, match='nests over'):
    read('<a>' * 100_000 + '</a>' * 100_000)
  monkeypatch.setattr('tfds_builders.lidc_idri.xml_tree.MAX_ELEMENTS', 1000)
  with pytest.raises(DataError, match='has over 1000 elements'):
    read('<a>' + '<b/>' * 1000 + '</a>')
  monkeypatch.setattr('tfds_builders.lidc_idri.xml_tree.MAX_BYTES', 100)
  with pytest.raises(DataError, match='bytes'):
    read('<a>' + 'x' * 100 + '</a>')


# X4: cut off, wrong encoding


def test_truncated(read):
  text = _one(Roi(1, SQUARE))
  for end in range(0, len(text) - 2, 37):
    with pytest.raises(DataError, match=r'file\.xml, line \d+'):
      read(text[:end])


def test_encodings(read):
  text = annotation_xml('1', [{'Nödule': [Roi(1, SQUARE)]}])
  for encoding in ('utf-8', 'utf-16', 'latin-1'):
    reading = read(text.replace('UTF-8', encoding), encoding)
    assert reading.annotations[0].name == 'Nödule'
  with pytest.raises(DataError, match=r'file\.xml, line \d+'):
    read(text, 'latin-1')
  for wrong in ('no-such', 'rot13', 'shift_jis', 'idna', 'utf-7'):
    with pytest.raises(DataError, match=r'file\.xml'):
      read(text.replace('UTF-8', wrong))


# X5: other roots


@pytest.mark.parametrize(
  ('root', 'reason'),
  [
    (
      '<IdriReadMessage xmlns="http://www.nih.gov/idri"><CXRreadingSession/></IdriReadMessage>',
      'radiograph',
    ),
    ('<html/>', 'other root element'),
    ('<LidcReadMessage xmlns="http://example.org"/>', 'other root element'),
    ('<LidcReadMessage/>', 'other root element'),
    ('<LidcReadMessage xmlns="http://www.nih.gov"/>', 'no series'),
  ],
)
def test_other_roots(read, root, reason):
  skipped = read(root)
  assert isinstance(skipped, Skipped)
  assert skipped.reason == reason


def test_other_roots_are_counted(download):
  (download / 'x-ray.xml').write_text('<IdriReadMessage xmlns="http://www.nih.gov/idri"/>')
  (download / 'page.xml').write_text('<html/>')
  counts = read_download([download]).counts
  assert counts['xml skipped: radiograph'] == 1
  assert counts['xml skipped: other root element'] == 1


# X6: defects inside


@pytest.mark.parametrize('value', ['x', '', 'nan', 'inf', '1e999', '3.5', '-99999', '9' * 5000])
def test_bad_coordinate_drops_the_outline(read, value):
  reading = read(_one(Roi(1, SQUARE), Roi(2, [*SQUARE, (value, 3)])))
  assert [one.z for one in reading.annotations[0].outlines] == [1.0]
  assert reading.defects == {'coordinate': 1}


def test_whole_number_written_as_decimal(read):
  reading = read(_one(Roi(1, [(f' {row}.0 ', column) for row, column in SQUARE])))
  np.testing.assert_array_equal(reading.annotations[0].outlines[0].points, SQUARE)


@pytest.mark.parametrize('value', [None, '', 'MAYBE'])
def test_missing_inclusion_drops_the_outline(read, value):
  reading = read(_one(Roi(1, SQUARE), Roi(2, SQUARE, inclusion=value)))
  assert len(reading.annotations[0].outlines) == 1
  assert reading.defects == {'inclusion': 1}


@pytest.mark.parametrize('value', ['', 'z', 'nan', '-inf', '1e999'])
def test_missing_position_drops_the_outline(read, value):
  reading = read(_one(Roi(1, SQUARE), Roi(value, SQUARE)))
  assert len(reading.annotations[0].outlines) == 1
  assert reading.defects == {'position': 1}


def test_short_outlines(read):
  reading = read(_one(Roi(1, SQUARE), Roi(2, SQUARE[:1]), Roi(3, [*SQUARE[:2], SQUARE[0]])))
  assert len(reading.annotations[0].outlines) == 1
  assert reading.defects == {'short outline': 2}
  reading = read(_one(Roi(2, SQUARE[:2])))
  assert not reading.annotations
  assert reading.marks[0].small_nodule


def test_nothing_left(read):
  reading = read(_one(Roi('', SQUARE)))
  assert not reading.annotations
  assert not reading.marks
  assert reading.defects == {'position': 1, 'nodule without outline': 1}


def test_open_and_long_outlines(read):
  assert read(_one(Roi(1, SQUARE[:5]))).defects == {'open outline': 1}
  far = [(0, 0), (0, 30_000), (30_000, 30_000), (30_000, 0)] * 5
  reading = read(_one(Roi(1, SQUARE), Roi(2, far)))
  assert reading.defects == {'long outline': 1}


def test_characteristics(read):
  text = _one(Roi(1, SQUARE))
  ratings = '<characteristics><malignancy>3</malignancy></characteristics>'
  for other, defects in (
    ('', {'unrated nodule': 1}),
    ('<characteristics/>', {'unrated nodule': 1}),
    (
      '<characteristics><malignancy>9</malignancy></characteristics>',
      {'rating': 1, 'unrated nodule': 1},
    ),
  ):
    reading = read(text.replace(ratings, other))
    assert len(reading.annotations) == 1
    assert reading.defects == defects


def test_eight_sessions_and_repeated_names(read):
  reading = read(annotation_xml('1', [{'a': [Roi(1, SQUARE)]}] * 8))
  assert reading.sessions == 8
  assert len(reading.annotations) == 8
  assert reading.defects == {'extra session': 4}
  nodule = _one(Roi(1, SQUARE)).partition('<readingSession>')[2].partition('</readingSession>')[0]
  reading = read(_one(Roi(1, SQUARE)).replace(nodule, nodule * 3))
  assert len(reading.annotations) == 3
  assert reading.defects == {'repeated nodule': 2}


def test_too_many_nodules(read, monkeypatch):
  monkeypatch.setattr(annotations, 'MAX_NODULES', 3)
  with pytest.raises(DataError, match='over 3 outlined nodules'):
    read(annotation_xml('1', [{str(n): [Roi(1, SQUARE)] for n in range(4)}]))


# X7: several files of one series


def test_equal_files_are_one(download):
  path = next(download.glob('*.xml'))
  text = path.read_text().replace('\n', '\n\n').replace('<ResponseHeader>', '<ResponseHeader><X/>')
  (download / 'copy.xml').write_text(text)
  found = read_download([download])
  assert len(found.readings) == 1
  assert found.counts['xml repeated'] == 1


def test_different_files_need_a_decision(download):
  path = next(download.glob('*.xml'))
  uid = read_annotations(path).series_uid
  other = download / 'other.xml'
  other.write_text(annotation_xml(uid, [{'a': [Roi(1, circle(50, 50, 5))]}]))
  with pytest.raises(
    DataError, match=r'other\.xml annotate one series in different ways'
  ) as caught:
    read_download([download])
  assert path.name in str(caught.value)
  assert read_download([download], chosen={uid: 'other.xml'}).readings[uid].path == other
  lenient = read_download([download], strict=False)
  assert lenient.counts['series skipped: broken'] == 1
  assert uid not in lenient.readings
  erratum = other.rename(download / 'other_resubmitted.xml')
  assert read_download([download]).readings[uid].path == erratum


def test_pick_prefers_nothing_without_need(download):
  reading = read_annotations(next(download.glob('*.xml')))
  assert pick([reading, reading._replace(path=pathlib.Path('z'))]) is reading
