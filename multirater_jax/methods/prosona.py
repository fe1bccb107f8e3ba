"""ProSona (arXiv:2511.08046): diverse masks, then masks in a manner that a prompt asks for."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, Shaped

from multirater_jax import latent_family, losses, style_prompts, text
from multirater_jax.latent_family import prior_bank, sample_prior
from multirater_jax.method import Loss, Method, RaterParams, Rngs, image_keys
from multirater_jax.networks.binding import bind
from multirater_jax.networks.latent_unet import LatentUNet, mask_channels
from multirater_jax.networks.prompt_mapper import PromptUNet
from multirater_jax.networks.trunks import make_trunk


def prosona(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  stage: str = 'diversify',
  dtype: Any = None,
  kl_weight: float = 1e-3,
  free_bits: float = 0.0,
  bank_size: int = 100,
  test_bank_size: int = 500,
  contrast_weight: float = 0.1,
  temperature: float = 0.07,
  text_encoder: str | None = None,
  text_dim: int = text.DIM,
  **latent: Any,
) -> Method:
  """Builds one stage of the method; both stages share all parameters.

  ``stage='diversify'`` is the Probabilistic U-Net; ``'personalize'`` trains what maps a prompt to a
  mixture of prior samples, and a learned prompt a rater (freeze the rest: ``'^(?!prompts/)'``). A
  row of ``style`` is either ``text_dim`` wide, the embedding of a prompt (``text.embed``, or a
  point between two), or ``num_raters`` wide, a mixture of the raters' learned prompts.

  Only the abstract and summaries of the paper are public: the two stages, the mixture and contrast
  at several levels. Ours: prompts measured from masks (``style_prompts``), all three contrasts in
  their detail, the learned prompts, every size. ``text_encoder`` and ``text_dim`` are those of
  ``text.embed``; the folder is needed for training alone.
  """
  if stage not in ('diversify', 'personalize'):
    raise ValueError(f'prosona has the stages diversify and personalize, not "{stage}".')
  if text_dim == num_raters:
    raise ValueError(f'text_dim={text_dim} is also the number of raters; choose another text_dim.')
  base = LatentUNet(make_trunk(dtype=dtype, **trunk), num_classes, dtype=dtype, **latent)
  model = PromptUNet(base, num_raters, text_dim)

  def init(rng, batch):
    if stage == 'personalize':
      prompt_table(text_encoder, text_dim)  # a wrong encoder shows before the first step
    truth = mask_channels(batch['masks'][:, 0], num_classes)
    return model.init(rng, batch['image'], truth)['params']

  def diversify(params, rng, batch, step):
    """The evidence bound of the Probabilistic U-Net."""
    del step
    run = bind(base, params['base'])
    weights = {'kl_weight': kl_weight, 'free_bits': free_bits}
    return latent_family.elbo(run, rng, batch, num_classes=num_classes, **weights)

  def personalize_loss(params, rng, batch, step):
    """CE + Dice of every prompted map for the mask that the prompt describes, three contrasts.

    Each rater is asked for twice: in words for the style of their mask of this image, and by the
    learned prompt; the terms are means over both and over the raters who drew.
    """
    del step
    run, stage_one = bind(model, params), bind(base, params['base'])
    keys = jax.vmap(lambda key: jax.random.split(key, 2))(image_keys(rng, batch['index']))
    cells = style_prompts.style_cells(batch['masks'], batch['annotated'])
    table = prompt_table(text_encoder, text_dim)
    words = draw_prompts(keys[:, 0], cells, table)
    prompts = jnp.concatenate([words, jnp.broadcast_to(run('names'), words.shape)], axis=1)
    masks, annotated = (jnp.concatenate([batch[name]] * 2, 1) for name in ('masks', 'annotated'))
    features = stage_one('features', batch['image']).full
    bank = prior_bank(stage_one, keys[:, 1], batch['image'], bank_size)
    codes = run('prompt_codes', bank, prompts)
    hidden, logits = run('decode_hidden', features, codes)
    drawn, found = pool(features, masks > 0), pool(features, 1 - jax.nn.softmax(logits)[..., 0])
    kinds = (('code', codes), ('hidden', hidden), ('region', found), ('region', drawn))
    shared = [run('project', kind, vectors) for kind, vectors in kinds]
    allowed = comparable(cells, batch['annotated'])
    to_text = functools.partial(info_nce, run('project', 'text', prompts), allowed, temperature)
    code, point, *regions = [losses.rater_mean(to_text(x), annotated) for x in shared]
    terms = losses.own_masks(logits, masks, annotated)
    terms |= {'code_text': code, 'hidden_text': point, 'region_text': sum(regions) / 2}
    contrast = terms['code_text'] + terms['hidden_text'] + terms['region_text']
    return Loss(terms['cross_entropy'] + terms['dice'] + contrast_weight * contrast, terms)

  def sample(params, rngs, image, num_samples):
    return sample_prior(bind(base, params['base']), rngs, image, num_samples)

  def personalize(params, rngs, image, style):
    run, stage_one = bind(model, params), bind(base, params['base'])
    if style.shape[1] not in (text_dim, num_raters):
      raise ValueError(
        f'A row of style is {style.shape[1]} wide; give the embedding of a prompt, {text_dim} '
        f'wide, or the weights of the {num_raters} raters.'
      )
    prompts = style if style.shape[1] == text_dim else style @ run('names')
    prompts = jnp.broadcast_to(prompts, (image.shape[0], *prompts.shape))
    codes = run('prompt_codes', prior_bank(stage_one, rngs, image, test_bank_size), prompts)
    return jax.nn.softmax(stage_one('decode', stage_one('features', image).full, codes))

  names = '^prompts/rater_names'
  loss = diversify if stage == 'diversify' else personalize_loss
  return Method(init, loss, sample, personalize, RaterParams(names, names))


def prompt_table(encoder: str | None, dim: int) -> Float[Array, 'n p d']:
  """Embeddings of the training prompts of every style.

  Raises ValueError where the encoder's are not ``dim`` wide.
  """
  found = style_prompts.embeddings('train', encoder, dim=dim)
  if found.shape[-1] != dim:
    raise ValueError(f'The text encoder gives {found.shape[-1]} numbers; set text_dim to that.')
  return jnp.asarray(found)


def draw_prompts(
  keys: Rngs, cells: Integer[Array, 'b r'], table: Float[Array, 'n p d']
) -> Float[Array, 'b r d']:
  """One paraphrase of every cell, drawn uniformly with the key of its image."""
  shape = cells.shape[1:]
  chosen = jax.vmap(lambda key: jax.random.randint(key, shape, 0, table.shape[1]))(keys)
  return table[cells, chosen]


def pool(
  features: Float[Array, 'b h w c'], weights: Shaped[Array, 'b r h w']
) -> Float[Array, 'b r c']:
  """Mean of the features under every map of weights in [0, 1]; near 0 where a map is empty."""
  weights = weights.astype(jnp.float32)
  total = jnp.einsum('bhwc,brhw->brc', features.astype(jnp.float32), weights)
  return total / (weights.sum((2, 3))[..., None] + 1)


def comparable(cells: Integer[Array, 'b r'], annotated: Bool[Array, 'b r']) -> Bool[Array, 'b p p']:
  """Which prompts of an image enter the contrast of which; p = 2 r, styles and then names.

  A style is compared with itself and the styles of other cells, a name with all names; neither with
  those of absent raters.
  """
  raters = jnp.arange(cells.shape[1])
  names = jnp.broadcast_to(style_prompts.NUM_CELLS + raters, cells.shape)
  labels = jnp.concatenate([cells, names], axis=1)
  kind, present = labels >= style_prompts.NUM_CELLS, jnp.concatenate([annotated] * 2, axis=1)
  same_kind = kind[:, :, None] == kind[:, None]
  others = same_kind & (labels[:, :, None] != labels[:, None]) & present[:, None]
  return others | jnp.eye(labels.shape[1], dtype=bool)


def info_nce(
  prompts: Float[Array, 'b p e'],
  allowed: Bool[Array, 'b p p'],
  temperature: float,
  vectors: Float[Array, 'b p e'],
) -> Float[Array, 'b p']:
  """How surely each vector finds its own prompt among the ``allowed`` ones of its image, in nats.

  -log(exp(v_i t_i / T) / sum_j exp(v_i t_j / T)),  j over ``allowed[i]``, which holds i itself.

  Source: van den Oord et al. 2018 (arXiv:1807.03748), equation 4, with the cosine similarity.
  """
  logits = jnp.einsum('bie,bje->bij', vectors, prompts) / temperature
  logits = jnp.where(allowed, logits, -1e9)
  own = jnp.diagonal(logits, axis1=1, axis2=2)
  return jax.nn.logsumexp(logits, axis=-1) - own
