"""CaliDiff (Medical Image Analysis 107, 103812): joint diffusion of all raters' masks.

Only the abstract is public. What it names is here: a reverse process with shared parameters,
Expertness Consistent Alignment, and a committee with Cross-Expert Fusion, Implicit Consensus
Inference and adversarial soft supervision. Every formula is a design of ours.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from multirater_jax import diffusion_family, losses
from multirater_jax.diffusion import gaussian, gaussian_loss, rows
from multirater_jax.diffusion.gaussian_process import make_process
from multirater_jax.method import Image, Loss, Method, Params, Rngs, image_keys
from multirater_jax.networks.cross_rater import CrossRaterAttention
from multirater_jax.networks.discriminator import PatchDiscriminator

Map = Float[Array, 'b h w k1']
Maps = Float[Array, 'b r h w k1']


def calidiff(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  denoiser: Mapping[str, Any],
  dtype: Any = None,
  schedule: str = 'cosine',
  timesteps: int = 1000,
  num_steps: int = 25,
  sampler: str = 'ddim',
  parameterization: str = 'v',
  personal_samples: int = 4,
  warmup_steps: int = 0,
  align_weight: float = 0.1,
  soft_weight: float = 0.5,
  adversarial_weight: float = 0.01,
) -> Method:
  """Builds the method; a chain draws the masks of all raters of an image together.

  The network is shared by the raters, who meet in attention at its bottleneck; an absent one is
  hidden there and in every term. Loss: squared error of each annotated rater's prediction +
  ``align_weight`` ``alignment`` + ``soft_weight`` cross-entropy of the committee's map with the
  votes + ``adversarial_weight`` times both players' least-squares terms, each with the other held
  still. All but the error and the discriminator's own term rise over ``warmup_steps``. ``sample``
  takes the raters of a chain in turn, ``personalize`` means over ``personal_samples`` chains of
  the given styles. A new rater would change what the others draw, so none can be taken in.
  """
  channels = num_classes - 1
  process = make_process(
    schedule,
    timesteps,
    num_steps=num_steps,
    sampler=sampler,
    parameterization=parameterization,
  )
  judge = PatchDiscriminator(dtype=dtype)

  def network(group):
    return diffusion_family.make_network(
      channels + 1,  # the last is the committee's gate
      trunk=trunk,
      denoiser=denoiser,
      bottleneck=CrossRaterAttention(group, dtype=dtype),
      dtype=dtype,
    )

  def init(rng, batch):
    keys, image = jax.random.split(rng), batch['image']
    model = network(1)
    generator = diffusion_family.init_params(model, keys[0], image, channels, num_raters)
    probs = jnp.zeros((*image.shape[:3], channels))
    return {
      'generator': generator,
      'discriminator': judge.init(keys[1], image, probs)['params'],
    }

  def denoise(params, keys, batch):
    """One step of every rater's mask: squared errors, x_0 as probabilities, gates, signal left."""
    image, annotated = batch['image'], batch['annotated']
    masks = rows.fold(diffusion_family.to_maps(batch['masks'], num_classes))
    style = jnp.eye(num_raters) * annotated[:, :, None]
    output = diffusion_family.bind_output(network(num_raters), params, image, num_raters, style)
    t = rows.repeat(rows.random_times(rows.step_keys(keys, 0), timesteps, 1), num_raters)[:, 0]
    level = jnp.asarray(process.abar, jnp.float32)[t]
    draws = rows.fold(rows.sample_keys(rows.step_keys(keys, 1), num_raters))
    noise = gaussian.normal(draws, masks.shape[1:])
    x_t = gaussian.forward(masks, noise, level)
    guess, gate = jnp.split(output(x_t, t), [channels], axis=-1)
    error = gaussian_loss.squared_error(guess, process.way.target(masks, noise, level))
    probs = jnp.clip((process.way.clean(x_t, guess, level) + 1) / 2, 1e-3, 1 - 1e-3)
    error, probs, gate, level = (
      rows.unfold(x, num_raters) for x in (error, probs, gate, level[:, None])
    )
    return error, probs, gate, level[:, 0, 0]

  def loss(params, rng, batch, step):
    keys, annotated = image_keys(rng, batch['index']), batch['annotated']
    error, probs, gate, level = denoise(params['generator'], keys, batch)
    fused = committee(probs, gate, annotated)
    masks = (diffusion_family.to_maps(batch['masks'], num_classes) + 1) / 2
    votes = mean_of(masks, annotated)
    terms = {
      'error': losses.rater_mean(error, annotated),
      'alignment': level * alignment(probs, votes, annotated),
      'soft': soft_cross_entropy(fused, votes),
    }
    verdict = functools.partial(judge_maps, judge, params['discriminator'], batch['image'])
    terms |= contest(verdict, fused, 0.05 + 0.9 * pseudo_truth(masks, annotated))
    later = align_weight * terms['alignment'] + soft_weight * terms['soft']
    later += adversarial_weight * terms['fool']
    value = terms['error'] + adversarial_weight * terms['judge']
    return Loss(value + losses.ramp(step, warmup_steps) * later, terms)

  def run_chains(params, rngs, image, style, chains):
    """Maps of every style in every chain."""
    count = len(style)
    styles = jnp.tile(style, (len(image), chains, 1))
    output = diffusion_family.bind_output(
      network(count), params['generator'], image, chains * count, styles
    )
    keys, shape = rows.sample_keys(rngs, chains * count), (*image.shape[1:3], channels)
    maps = diffusion_family.sample_masks(process, keys, lambda x, t: output(x, t)[..., :-1], shape)
    probs = diffusion_family.to_probs(maps)
    return probs.reshape(len(image), chains, count, *probs.shape[2:])

  def sample(params, rngs, image, num_samples):
    chains = -(-num_samples // num_raters)
    probs = run_chains(params, rows.step_keys(rngs, 0), image, jnp.eye(num_raters), chains)
    return take_in_turn(rows.step_keys(rngs, 1), probs, num_samples)

  def personalize(params, rngs, image, style):
    return run_chains(params, rngs, image, style, personal_samples).mean(1)

  return Method(init, loss, sample, personalize)


def take_in_turn(
  keys: Rngs, probs: Float[Array, 'b m r h w k'], num_samples: int
) -> Float[Array, 'b s h w k']:
  """The raters of one chain after the other, from a rater drawn at random."""
  raters = probs.shape[2]
  first = jax.vmap(lambda key: jax.random.randint(key, (), 0, raters))(keys)
  number = jnp.arange(num_samples)
  order = (first[:, None] + number) % raters
  return jax.vmap(lambda x, r: x[number // raters, r])(probs, order)


def judge_maps(judge: PatchDiscriminator, params: Params, image: Image, probs: Map, hold: bool):
  """Scores of maps; ``hold`` stops the gradient to the discriminator."""
  params = jax.lax.stop_gradient(params) if hold else params
  return judge.apply({'params': params}, image, probs)


def contest(verdict: Callable, fused: Map, truth: Map) -> dict[str, Float[Array, ' b']]:
  """Both players' least-squares terms: ``judge`` trains the one, ``fool`` the other.

  Source: Mao et al. 2017 (arXiv:1611.04076), equation 9.
  """
  held = jax.lax.stop_gradient(fused)
  real, fake, fooled = verdict(truth, False), verdict(held, False), verdict(fused, True)
  return {
    'judge': (jnp.square(real - 1) + jnp.square(fake)).mean((1, 2)),
    'fool': jnp.square(fooled - 1).mean((1, 2)),
  }


def mean_of(maps: Maps, annotated: Bool[Array, 'b r']) -> Map:
  """Mean over the raters that annotated."""
  share = annotated / jnp.maximum(annotated.sum(-1, keepdims=True), 1)
  return jnp.einsum('brhwk,br->bhwk', maps, share)


def committee(probs: Maps, gate: Float[Array, 'b r h w 1'], annotated: Bool[Array, 'b r']) -> Map:
  """Implicit consensus: the present raters' maps, mixed pixel by pixel by a softmax of gates."""
  gate = jnp.where(annotated[:, :, None, None, None], gate, -1e9)
  return (probs * jax.nn.softmax(gate, axis=1)).sum(1)


def alignment(probs: Maps, votes: Map, annotated: Bool[Array, 'b r']) -> Float[Array, ' b']:
  """Expertness Consistent Alignment: sum w Var_r(p) / sum w, w = (2 votes - 1)^2.

  w is 1 where all raters agree and 0 at a tie, so predictions are drawn together only where the
  raters were.
  """
  weight = jnp.square(2 * votes - 1)
  variance = mean_of(jnp.square(probs - mean_of(probs, annotated)[:, None]), annotated)
  axes = (1, 2, 3)
  return (weight * variance).sum(axes) / jnp.maximum(weight.sum(axes), 1)


def soft_cross_entropy(probs: Map, votes: Map) -> Float[Array, ' b']:
  """Binary cross-entropy of every foreground class with the vote fractions, mean over pixels."""
  each = votes * jnp.log(probs) + (1 - votes) * jnp.log1p(-probs)
  return -each.sum(-1).mean((1, 2))


def pseudo_truth(masks: Maps, annotated: Bool[Array, 'b r']) -> Map:
  """The raters' masks, weighted by expertness.

  softmax_r(10 Dice of rater r with the mean of the other annotated raters).
  """
  present = annotated.astype(masks.dtype)
  masks = masks * present[:, :, None, None, None]
  others = masks.sum(1, keepdims=True) - masks
  others /= jnp.maximum(present.sum(1)[:, None] - 1, 1)[:, :, None, None, None]
  axes = (2, 3, 4)
  overlap = (masks * others).sum(axes)
  dice = (2 * overlap + 1) / (masks.sum(axes) + others.sum(axes) + 1)
  weight = jax.nn.softmax(jnp.where(annotated, 10 * dice, -1e9))
  return jnp.einsum('brhwk,br->bhwk', masks, weight)
