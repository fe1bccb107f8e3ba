"""Pages to look through the images of the panels, one each."""

from pathlib import Path

from multirater_jax.report import explorer
from multirater_jax.report.panels import dice
from multirater_jax.report.part import raters
from multirater_jax.report.reading import Run


def name_of(number: int) -> str:
  """The file of the page of a panel, below ``report/``."""
  return f'case_{number:02d}.html'


def is_explored(run: Run) -> bool:
  """Whether the panels hold enough for pages: images with samples and their maps."""
  return {'image', 'masks', 'samples', 'consensus', 'entropy', 'disagreement'} <= set(run.panels)


def write(folder: Path, run: Run) -> None:
  """Writes a page for each image of the panels; those of an older report go."""
  wanted = set()
  for number in range(len(run.panels['image']) if is_explored(run) else 0):
    wanted.add(name_of(number))
    explorer.write(folder / name_of(number), _explored(run, number))
  for old in folder.glob('case_*.html'):
    if old.name not in wanted:
      old.unlink()


def _explored(run: Run, number: int) -> explorer.Explored:
  one = {key: value[number] for key, value in run.panels.items()}
  names = raters(run, len(one['masks']))
  drawn = {
    name: mask[None]
    for name, mask, drew in zip(names, one['masks'], one['annotated'], strict=True)
    if drew
  }
  outputs = (
    dict(zip(names, one['personalized'][:, None], strict=True)) if 'personalized' in one else {}
  )
  facts = [
    (f'Dice, {name}', f'{dice(outputs[name][0] > 0, mask[0] > 0):.2f}')
    for name, mask in drawn.items()
    if name in outputs
  ]
  return explorer.Explored(
    title=f'{one.get("name", number)}',
    planes=one['image'][None],
    raters=outputs,
    samples=one['samples'][:, None],
    **{key: one[key][None] for key in ('consensus', 'entropy', 'disagreement')},
    num_classes=int(run.fingerprint.get('num_classes', 2)),
    facts=[('GED', f'{float(one["ged"]):.3f}'), *facts] if 'ged' in one else facts,
    drawn=drawn,
  )
