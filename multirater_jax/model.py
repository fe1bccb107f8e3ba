"""A trained run as an object of plain functions on NumPy arrays, for images of any size."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Shaped

from multirater_jax import text, windows
from multirater_jax.data.rows import to_float
from multirater_jax.data.source import limits
from multirater_jax.method import Method, Params, image_keys
from multirater_jax.predict import compiled_personalize, compiled_sample
from multirater_jax.trained import load_method, run_facts

AnyImage = Shaped[np.ndarray, 'h w'] | Shaped[np.ndarray, 'h w c']


class Prediction(NamedTuple):
  """All that a model says of one image; class 0 is background."""

  raters: Float32[np.ndarray, 'r h w k'] | None  # None: the method makes no personalized masks
  samples: Float32[np.ndarray, 's h w k']

  @property
  def consensus(self) -> Float32[np.ndarray, 'h w k']:
    """Mean probabilities over the samples."""
    return self.samples.mean(0)

  @property
  def entropy(self) -> Float32[np.ndarray, 'h w']:
    """Entropy of the consensus in nats: all uncertainty of a pixel, whatever its source."""
    mean = self.consensus
    return -(mean * np.log(np.maximum(mean, 1e-12))).sum(-1)

  @property
  def disagreement(self) -> Float32[np.ndarray, 'h w']:
    """Variance of the foreground over the raters, 0 to 0.25; over the samples without raters."""
    outputs = self.samples if self.raters is None else self.raters
    return (1 - outputs[..., 0]).var(0)


class Model(NamedTuple):
  """A trained stage with what it needs to know of its data.

  Images are given as the files of its data set hold them (a uint8 image is not divided by 255);
  the intensities are scaled here as they were in training.
  """

  method: Method
  params: Params
  raters: tuple[str, ...]
  num_classes: int
  size: int  # pixels of a window's side
  percentiles: tuple[float, float] | None
  whole: bool  # are images resized to a window, as in training, not cut into several?
  embed: Callable[[Sequence[str]], Any] | None  # prompts -> rows of style; None: takes none

  def sample(
    self, image: AnyImage, num_samples: int = 16, seed: int = 0, **options: Any
  ) -> Float32[np.ndarray, 's h w k']:
    """Class probabilities of plausible masks; ``options`` are those of ``windows.predict``."""
    run = compiled_sample(self.method, num_samples)
    return self._blend(run, (), image, seed, options)

  def personalize(
    self,
    image: AnyImage,
    raters: Sequence[str | int] | None = None,
    *,
    prompt: str | Sequence[str] | None = None,
    style: Float[np.ndarray, 'r d'] | None = None,
    seed: int = 0,
    **options: Any,
  ) -> Float32[np.ndarray, 'r h w k']:
    """Class probabilities in the manner of raters (all by default), of prompts, or of ``style``.

    ``raters`` are names or numbers from 1; rows of ``style`` mix raters, or are embeddings.

    Raises ValueError where the method makes no personalized masks, and for unknown raters.
    """
    if self.method.personalize is None:
      raise ValueError('This method makes no personalized masks; draw samples instead.')
    rows = self.style_of(raters, prompt) if style is None else np.asarray(style, np.float32)
    run = compiled_personalize(self.method)
    return self._blend(run, (jnp.asarray(rows),), image, seed, options)

  def predict(
    self,
    image: AnyImage,
    num_samples: int = 16,
    raters: Sequence[str | int] | None = None,
    *,
    prompt: str | Sequence[str] | None = None,
    seed: int = 0,
    **options: Any,
  ) -> Prediction:
    """Samples, and personalized masks where the method makes them."""
    samples = self.sample(image, num_samples, seed, **options)
    if self.method.personalize is None:
      return Prediction(None, samples)
    personal = self.personalize(image, raters, prompt=prompt, seed=seed, **options)
    return Prediction(personal, samples)

  def style_of(
    self, raters: Sequence[str | int] | None, prompt: str | Sequence[str] | None = None
  ) -> Float32[np.ndarray, 'r d']:
    """The rows of ``style`` that name raters or prompts.

    Raises ValueError for an unknown rater, both at once, or prompts to a model that takes none.
    """
    if prompt is not None:
      if raters is not None:
        raise ValueError('Give raters or a prompt, not both.')
      if self.embed is None:
        raise ValueError('This model takes no prompt; prosona does.')
      return self.embed([prompt] if isinstance(prompt, str) else list(prompt))
    numbers = range(len(self.raters)) if raters is None else map(self.number_of, raters)
    return np.eye(len(self.raters), dtype=np.float32)[list(numbers)]

  def number_of(self, rater: str | int) -> int:
    """The row of a rater given by name or by number from 1."""
    if str(rater) in self.raters:
      return self.raters.index(str(rater))
    if str(rater).isdecimal() and 1 <= int(rater) <= len(self.raters):
      return int(rater) - 1
    raise ValueError(f'There is no rater "{rater}"; there are {", ".join(self.raters)}.')

  def _blend(self, run, extra, image, seed, options):
    pixels = image[..., None] if image.ndim == 2 else image
    unit = to_float(pixels, limits(pixels, self.percentiles))
    key = image_keys(jax.random.key(seed), jnp.zeros(1, jnp.uint32))

    def outputs(squares):  # every window, and every slice of a volume, has the same draw
      return np.asarray(run(self.params, key[jnp.zeros(len(squares), int)], squares, *extra))

    if self.whole:
      return windows.predict_resized(outputs, unit, size=self.size)
    return windows.predict(outputs, unit, size=self.size, **options)


def load(workdir: str | Path, stage: str | None = None, *, new_rater: str | None = None) -> Model:
  """A trained stage, by default the last one, with its best averaged parameters.

  ``new_rater`` names one that ``experiments.adapt`` fitted; they are the last of the raters.

  Raises CheckpointError where ``workdir`` holds no such trained stage or rater.
  """
  workdir = Path(workdir)
  method, params = load_method(workdir, stage, new_rater=new_rater)
  facts = run_facts(workdir)
  return Model(
    method,
    params,
    (*facts.raters, new_rater) if new_rater else facts.raters,
    facts.num_classes,
    facts.config['data']['eval_size'],
    tuple(facts.config['data']['percentiles']) or None,
    _resizes(facts.config['data']),
    _embedder(facts.config) if method.personalize else None,
  )


def _resizes(data: dict[str, Any]) -> bool:
  """Whether the data set stores whole slices at the size of a window."""
  return data['name'] == 'npc' and data['options']['preset'] != 'stored'


def _embedder(config: dict[str, Any]) -> Callable[[Sequence[str]], Any] | None:
  """How the run turns prompts into vectors; None where its method takes none."""
  model = config['model']
  if 'text_dim' not in model:
    return None
  return functools.partial(text.embed, encoder=model['text_encoder'], dim=model['text_dim'])
