import logging
import zlib

import numpy as np
import pytest

from multirater_jax.data.errors import DataError
from tfds_builders import checks, notes


def record(name, case='case', image=None, areas=(6, 8), annotated=None, spacing=(1.0, 1.0)):
  """One image; rater r marks ``areas[r]`` pixels, none at the border."""
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  masks = np.zeros((len(areas), 12, 12), np.uint8)
  for mask, area in zip(masks, areas):
    rows, columns = np.divmod(np.arange(area), 10)
    mask[rows + 1, columns + 1] = 1
  return {
    'image': rng.integers(0, 255, (12, 12, 1)) if image is None else image,
    'masks': masks,
    'annotated': np.ones(len(areas), bool) if annotated is None else np.array(annotated),
    'case': case,
    'name': name,
    'spacing': spacing,
  }


def check(*records, **options):
  report = checks.check([('entry', lambda: iter(records))], **options)
  return report, {finding.check: finding for finding in report.findings}


def found(findings, key):
  return findings[checks.CHECKS[key].text]


def test_good_records_give_nothing():
  report, findings = check(*(record(str(n), case=str(n // 2)) for n in range(4)))
  assert (report.records, report.cases, report.status) == (4, 2, 0)
  assert all(finding.level == checks.FINE and not finding.count for finding in findings.values())


MIRROR = np.arange(144).reshape(12, 12, 1)


@pytest.mark.parametrize(
  'key,records,status',
  [
    ('double in cases', [record('a', 'x', MIRROR), record('b', 'y', MIRROR), record('c', 'y')], 1),
    ('double', [record('a', image=MIRROR), record('b', image=MIRROR)], 0),
    ('constant', [record('a', image=np.ones((12, 12, 1))), record('b')], 1),
    ('unmarked', [record('a', areas=(0, 0)), record('b')], 0),
    ('silent', [record('a', areas=(5, 0)), record('b', areas=(5, 0))], 1),
    ('copied', [record(name, areas=(7, 7)) for name in 'abc'], 1),
    ('outlier', [record('a', areas=(3, 40)), record('b')], 0),
    ('absent', [record('a', annotated=(True, False)), record('b')], 0),
    ('spacing', [record('a', spacing=None), record('b', spacing=(np.nan, np.nan))], 0),
    ('cases', [record('a', '1'), record('b', '2')], 0),
  ],
)
def test_each_fault_is_found_by_its_check_alone(key, records, status):
  report, findings = check(*records)
  assert report.status == status
  assert found(findings, key).count >= 1
  others = {text for text, finding in findings.items() if finding.count}
  assert others == {checks.CHECKS[key].text}


def test_inverted_masks_and_masks_at_the_border():
  full = record('a')
  full['masks'][1] = 1
  report, findings = check(full, record('b'))
  assert report.status == 1
  assert found(findings, 'full').examples == ['a, rater 2']
  assert found(findings, 'border').examples == ['a, rater 2']


def test_two_same_masks_are_no_copy_yet():
  same = [record(name, areas=(7, 7)) for name in 'ab']
  _, findings = check(*same, *(record(str(n)) for n in range(20)))
  assert not found(findings, 'copied').count


def test_reading_goes_on_after_a_broken_entry():
  def broken():
    yield record('a')
    raise DataError('b.png is broken.')

  entries = [('a', broken), ('c', lambda: [record('c')])]
  report = checks.check(entries)
  assert (report.records, report.status) == (2, 2)
  assert report.findings[0].examples == ['b.png is broken.']
  assert checks.check(entries, strict=False).status == 1


def test_nothing_readable_cannot_be_used():
  assert checks.check([], strict=False).status == 2


def test_what_readers_say_is_heard_and_their_broken_files_count():
  log = logging.getLogger('tfds_builders.lidc_idri.download')

  def entries():
    log.warning('%d odd outlines.', 3)
    log.error('x.dcm is broken.')
    yield 'a', lambda: [record('a'), record('b')]

  report = checks.check(entries(), strict=False)
  by = {finding.check: finding.examples for finding in report.findings}
  assert report.status == 1
  assert by[checks.CHECKS['notes'].text] == ['3 odd outlines.']
  assert by[checks.CHECKS['unreadable'].text] == ['x.dcm is broken.']


def test_notes_are_heard_whatever_the_level_of_the_program_and_only_within(caplog):
  log, said = logging.getLogger('tfds_builders.folder'), []
  before = logging.root.level
  logging.root.setLevel(logging.CRITICAL)
  try:
    with notes.heard(lambda text, broken: said.append((text, broken))):
      log.warning('a %s', 'note')
      log.info('nothing')
    log.error('outside')
  finally:
    logging.root.setLevel(before)
  assert said == [('a note', False)]
  assert logging.getLogger('tfds_builders').handlers == []
