"""The one interface: a method (one paper) is a tuple of pure functions.

Axis letters, everywhere and in this order: ``b`` image, ``s`` sample, ``r`` rater, ``h w`` space,
``c`` channel, ``k`` class (0 is background), ``z`` latent, ``d`` style, ``t`` step.
"""

from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, Key, Shaped

Params = Any  # a nested dict of float32 arrays, as Linen makes it
Image = Float[Array, 'b h w c']
Rngs = Key[Array, ' b'] | Shaped[Array, ' b']
SampleProbs = Float[Array, 'b s h w k']
RaterProbs = Float[Array, 'b r h w k']


class Batch(TypedDict):
  """What the input pipeline delivers and a loss receives.

  A row whose ``annotated`` is false for every rater is padding: it counts nowhere.
  """

  image: Float[Array, 'b h w c']  # intensities in [0, 1]
  masks: Integer[Array, 'b r h w']  # class of every pixel, per rater
  annotated: Bool[Array, 'b r']  # did rater r draw on image b?
  case: Integer[Array, ' b']  # slices of one patient or volume share a case
  index: Integer[Array, ' b']  # number of the record in its data set; names the image's key
  distorted: NotRequired[Float[Array, 'b h w c']]  # the image through a simulated scanner artefact
  corner: NotRequired[Integer[Array, 'b 2']]  # evaluation: first row and column in the record
  valid: NotRequired[Bool[Array, 'b h w']]  # evaluation tiles: false beyond the image's border


class Loss(NamedTuple):
  """A loss per example; the training loop averages over the real rows."""

  value: Float[Array, ' b']
  logs: dict[str, Float[Array, ' b']]


class InitFn(Protocol):
  """``(rng, batch) -> params``; only shapes and the number of raters of the batch matter."""

  def __call__(self, rng: jax.Array, batch: Batch) -> Params: ...  # noqa: D102


class LossFn(Protocol):
  """``(params, rng, batch, step) -> Loss``; pure, one key per image derived from ``rng``."""

  def __call__(self, params: Params, rng: jax.Array, batch: Batch, step: jax.Array) -> Loss: ...  # noqa: D102


class SampleFn(Protocol):
  """``(params, rngs [b], image, num_samples) -> probs [b s h w k]``."""

  def __call__(self, params: Params, rngs: Rngs, image: Image, num_samples: int) -> SampleProbs: ...  # noqa: D102


class PersonalizeFn(Protocol):
  """``(params, rngs [b], image, style [r d]) -> probs [b r h w k]``.

  ``eye(num_raters)`` names raters.
  """

  def __call__(self, params: Params, rngs: Rngs, image: Image, style: Any) -> RaterProbs: ...  # noqa: D102


class RaterParams(NamedTuple):
  """Which parameters belong to single raters, as regular expressions over their names."""

  stacked: str  # one row a rater, along the first axis
  fitted: str  # those of them that ``adapt`` fits to a new rater; the others are a known rater's


class Method(NamedTuple):
  """One paper as pure functions. One key per image: no result depends on the rest of the batch."""

  init: InitFn
  loss: LossFn
  sample: SampleFn
  personalize: PersonalizeFn | None = None
  rater_params: RaterParams | None = None  # None: the method cannot take in a new rater


def image_keys(rng: jax.Array, index: Integer[Array, ' b']) -> Key[Array, ' b']:
  """One key per image, from its record number, so that neither batch size nor padding matters."""
  return jax.vmap(jax.random.fold_in, (None, 0))(rng, index.astype(jnp.uint32))
