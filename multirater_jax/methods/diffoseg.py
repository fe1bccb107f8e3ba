"""DiffOSeg (arXiv:2507.13087): categorical diffusion of a consensus, then of each rater's masks."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from multirater_jax import diffusion_family
from multirater_jax.diffusion import categorical, rows
from multirater_jax.diffusion.categorical_process import make_process
from multirater_jax.method import Loss, Method, RaterParams, Rngs, image_keys
from multirater_jax.networks.prompt_bank import PromptBank


def diffoseg(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  denoiser: Mapping[str, Any],
  stage: str = 'consensus',
  dtype: Any = None,
  consensus: str = 'soft',
  schedule: str = 'cosine',
  timesteps: int = 250,
  num_steps: int = 25,
  evidence: bool | None = None,
  num_loss_draws: int = 1,
  personal_samples: int = 4,
  kl_weight: float = 1.0,
  cross_entropy_weight: float = 1.0,
) -> Method:
  """Builds one stage of the method; the second starts from the first and adds the raters.

  ``stage='consensus'`` learns ``consensus`` of a random subset of the annotated raters;
  ``'preference'`` the mask of a named rater, told by a vector beside the time and by the prompts at
  the bottleneck, both linear in the style. There ``sample`` takes the raters in turn from one drawn
  at random, and ``personalize`` means over ``personal_samples`` chains a rater, which start alike
  for all raters. Both stages read the pixel itself as ``evidence`` unless the consensus is soft, of
  which one pixel says little. Differences from the paper: as in ``ccdm``, and a soft consensus.
  """
  if stage not in ('consensus', 'preference'):
    raise ValueError(f'diffoseg has the stages consensus and preference, not "{stage}".')
  if consensus not in CONSENSUS:
    raise ValueError(f'There is no consensus "{consensus}"; choose one of {", ".join(CONSENSUS)}.')
  personal = stage == 'preference'
  evidence = consensus != 'soft' if evidence is None else evidence
  process = make_process(schedule, timesteps, num_steps, evidence)
  model = diffusion_family.make_network(
    num_classes,
    trunk=trunk,
    denoiser=denoiser,
    bottleneck=PromptBank(dtype=dtype) if personal else None,
    dtype=dtype,
  )

  def init(rng, batch):
    raters = num_raters if personal else None
    return diffusion_family.init_params(model, rng, batch['image'], num_classes, raters)

  def consensus_loss(params, rng, batch, step):
    """The consensus of a subset of its own for each of the draws."""
    del step
    keys = image_keys(rng, batch['index'])
    draws = rows.sample_keys(rows.step_keys(keys, 0), num_loss_draws)
    target = jax.vmap(CONSENSUS[consensus], (1, None, None), 1)
    masks = jax.nn.one_hot(batch['masks'], num_classes)
    output = diffusion_family.bind_output(model, params, batch['image'], num_loss_draws)
    masks = target(draws, masks, batch['annotated'])
    return weighted(diffusion_family.mask_terms(process, rows.step_keys(keys, 1), masks, output))

  def preference_loss(params, rng, batch, step):
    """The mask of an annotated rater for each of the draws, who is named to the network."""
    del step
    keys = image_keys(rng, batch['index'])
    draws = rows.sample_keys(rows.step_keys(keys, 0), num_loss_draws)
    raters, masks = diffusion_family.choose_masks(draws, batch)
    style = jax.nn.one_hot(raters, num_raters)
    output = diffusion_family.bind_output(model, params, batch['image'], num_loss_draws, style)
    masks = jax.nn.one_hot(masks, num_classes)
    return weighted(diffusion_family.mask_terms(process, rows.step_keys(keys, 1), masks, output))

  def weighted(terms):
    return Loss(kl_weight * terms['kl'] + cross_entropy_weight * terms['cross_entropy'], terms)

  def run_chains(params, keys, image, style):
    output = diffusion_family.bind_output(model, params, image, keys.shape[1], style)
    shape = (*image.shape[1:3], num_classes)
    return diffusion_family.sample_masks(process, keys, output, shape)

  def sample(params, rngs, image, num_samples):
    style = None
    if personal:
      first = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_raters))(rngs)
      raters = (first[:, None] + jnp.arange(num_samples)) % num_raters
      style = jax.nn.one_hot(raters, num_raters)
    return run_chains(params, rows.sample_keys(rngs, num_samples), image, style)

  def personalize(params, rngs, image, style):
    raters, chains = len(style), personal_samples
    keys = jnp.tile(rows.sample_keys(rngs, chains), (1, raters))
    each = jnp.broadcast_to(style.repeat(chains, axis=0), (len(image), raters * chains, num_raters))
    probs = run_chains(params, keys, image, each)
    return probs.reshape(len(image), raters, chains, *probs.shape[2:]).mean(2)

  if not personal:
    return Method(init, consensus_loss, sample)
  raters = '^denoiser/(condition/kernel|bottleneck/raters)$'
  return Method(init, preference_loss, sample, personalize, RaterParams(raters, raters))


Masks = Float[Array, 'b r h w k']
Target = Float[Array, 'b h w k']


def random_subset(keys: Rngs, annotated: Bool[Array, 'b r']) -> Bool[Array, 'b r']:
  """A random non-empty subset of the annotated raters: its size uniform, then its members.

  Empty where nobody annotated.
  """
  size_keys, member_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
  count = annotated.sum(-1)
  size = jax.vmap(lambda key, n: jax.random.randint(key, (), 1, n + 1))(size_keys, count)
  shape = annotated.shape[1:]
  order = jax.vmap(lambda key: jax.random.uniform(key, shape))(member_keys)
  rank = jnp.argsort(jnp.argsort(jnp.where(annotated, order, 2.0)))
  return (rank < size[:, None]) & annotated


def soft(keys: Rngs, masks: Masks, annotated: Bool[Array, 'b r']) -> Target:
  """The vote fractions of a random subset."""
  chosen = random_subset(keys, annotated)
  share = chosen / jnp.maximum(chosen.sum(-1, keepdims=True), 1)
  return jnp.einsum('brhwk,br->bhwk', masks, share)


def bernoulli(keys: Rngs, masks: Masks, annotated: Bool[Array, 'b r']) -> Target:
  """Every pixel's class drawn from the vote fractions of a random subset."""
  votes = soft(keys, masks, annotated)
  return categorical.draw(rows.step_keys(keys, 2), votes)


def majority(keys: Rngs, masks: Masks, annotated: Bool[Array, 'b r']) -> Target:
  """The class with most votes in a random subset; the lower one of equals."""
  votes = soft(keys, masks, annotated)
  return jax.nn.one_hot(_winner(votes), votes.shape[-1])


def intersection(keys: Rngs, masks: Masks, annotated: Bool[Array, 'b r']) -> Target:
  """The class that all of a random subset give a pixel; background where they differ."""
  votes = soft(keys, masks, annotated)
  agreed = jnp.where(votes.max(-1) > 1 - 1e-5, _winner(votes), 0)
  return jax.nn.one_hot(agreed, votes.shape[-1])


def _winner(votes: Target) -> Integer[Array, 'b h w']:
  return jnp.argmax(jnp.round(votes, 5), axis=-1)


CONSENSUS = {'soft': soft, 'bernoulli': bernoulli, 'majority': majority, 'and': intersection}
