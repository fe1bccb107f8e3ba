"""The phantom: simulated lung nodules outlined by raters of known style."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from multirater_jax.data import phantom
from multirater_jax.data.errors import DataError
from multirater_jax.data.phantom.shapes import pixel_spacing
from tfds_builders import parallel, record

MAX_IMAGES = 1_000_000  # seeds of scenes kept for one seed of a set, so that sets share no scene
SIZES = (16, 1024)


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """The options of ``configure``."""

  size: int
  num_images: int
  num_raters: int
  seed: int
  images_per_case: int
  missing: float


def configure(
  *,
  size: int = 64,
  num_images: int = 2600,
  num_raters: int = 4,
  seed: int = 0,
  images_per_case: int = 1,
  missing: float = 0.0,
) -> Config:
  """The builder's config; ``size`` in pixels, a square.

  ``images_per_case`` scenes in a row form a case and are unrelated otherwise. ``missing`` is the
  probability that a rater was not shown an image: not annotated, which is not an empty mask.
  """
  _check('size', size, *SIZES)
  _check('num_images', num_images, 1, MAX_IMAGES)
  _check('num_raters', num_raters, 1, 255)
  _check('seed', seed, 0, 2**31)
  _check('images_per_case', images_per_case, 1, num_images)
  _check('missing', missing, 0, 1)
  return record.named(
    Config(
      name='',
      size=size,
      num_images=num_images,
      num_raters=num_raters,
      seed=seed,
      images_per_case=images_per_case,
      missing=float(missing),
    )
  )


def _check(option: str, value: float, low: float, high: float) -> None:
  if not low <= value <= high:
    raise DataError(f'phantom: {option} is {value}; it lies between {low} and {high}.')


class Builder(tfds.core.GeneratorBasedBuilder):
  """One record a scene, named after the scene's seed; the same raters throughout."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version; any change of an image or a mask raises it.'}  # noqa: RUF012

  _split_generators = record.only_split

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    return record.info(
      self,
      raters=[f'style {rater + 1}' for rater in range(config.num_raters)],
      rater_identity=True,
      num_classes=2,
      channels=1,
      options={field: getattr(config, field) for field in Config.__annotations__},
    )

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    draw = functools.partial(
      _example,
      **{key: getattr(config, key) for key in Config.__annotations__ if key != 'num_images'},
    )
    for example in parallel.in_order(draw, range(config.num_images), chunk=16):
      yield example['name'], example


def _example(
  index: int, *, size: int, num_raters: int, seed: int, images_per_case: int, missing: float
) -> dict[str, Any]:
  """Record ``index`` of a set."""
  scene = phantom.scene(seed * MAX_IMAGES + index, size)
  styles = phantom.make_styles(num_raters)
  masks, annotated = phantom.annotate_all(scene.nodule, scene.seed, styles, missing=missing)
  spacing = pixel_spacing(size)
  return record.encode(
    image=scene.image[..., None],
    masks=masks,
    annotated=annotated,
    case=f'case-{index // images_per_case:06d}',
    name=phantom.scene_name(scene.seed),
    spacing=(spacing, spacing),
  )
