"""Counts of a prepared set beside the published ones of the complete collection."""

from collections.abc import Mapping

# Patients and scans: Armato et al. 2011. Annotations and nodules: pylidc's grouping, confirmed by
# Fedorov et al. 2020; it leaves out two annotations without characteristics that are read here.
PUBLISHED: dict[str, int] = {
  'patients': 1010,
  'scans': 1018,
  'annotations': 6859,
  'nodules': 2651,
  'nodules by 1': 771,
  'nodules by 2': 488,
  'nodules by 3': 481,
  'nodules by 4': 897,
  'nodules by more': 14,
}


def nodules_by(sizes: list[int]) -> dict[str, int]:
  """How many nodules have one, two, three, four and more annotations."""
  counts = {f'nodules by {size}': sizes.count(size) for size in range(1, 5)}
  return counts | {'nodules by more': sum(size > 4 for size in sizes)}


def table(counts: Mapping[str, int]) -> str:
  """The counts as lines of text, those with a published value beside it.

  Published values are of the complete collection; what a part of it holds is less.
  """
  names = [*PUBLISHED, *sorted(name for name in set(counts) - set(PUBLISHED) if counts[name])]
  width = max(map(len, names))
  lines = [f'{"":{width}}  {"here":>8}  published']
  for name in names:
    published = PUBLISHED.get(name)
    lines.append(f'{name:{width}}  {counts.get(name, 0):>8}  {published if published else "":>9}')
  if counts.get('scans', 0) < PUBLISHED['scans']:
    lines.append(f'This is a part of the collection: {counts.get("scans", 0)} of 1018 scans.')
  return '\n'.join(line.rstrip() for line in lines)
