"""ProSeg (arXiv:2512.00748): a rater's preference apart from the image's ambiguity."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from multirater_jax import losses
from multirater_jax.method import Loss, Method, RaterParams, Rngs, image_keys
from multirater_jax.networks.binding import bind
from multirater_jax.networks.per_device import per_device
from multirater_jax.networks.proseg_unet import Field, ProSegUNet
from multirater_jax.networks.stacked import one_hot_style, same_style
from multirater_jax.networks.trunks import make_trunk
from multirater_jax.networks.unet import average_pool


def proseg(
  *,
  num_classes: int,
  num_raters: int,
  trunk: Mapping[str, Any],
  dtype: Any = None,
  rater_dim: int = 8,
  field_dim: int = 16,
  field_pool: int = 1,
  head_width: int = 16,
  kl_weight: float = 0.1,
  classifier_weight: float = 1.0,
  reconstruction_weight: float = 1.0,
) -> Method:
  """Builds the method; its one stage trains everything, for one annotated rater drawn per image.

  ``sample`` draws tau ~ Dir(1), a rater's field uniformly, and that field; ``personalize`` takes
  the mean of a rater's Dirichlet and field, so it is deterministic. Differences from the paper's
  code: the field's prior is N(0, 1), the classifier has one softmax, the reconstruction error is a
  mean and has no second U-Net, cross-entropy stands beside soft Dice as in every method here.
  """

  def model_for(channels):
    return ProSegUNet(
      trunk=make_trunk(dtype=dtype, **trunk),
      num_classes=num_classes,
      num_raters=num_raters,
      rater_dim=rater_dim,
      field_dim=field_dim,
      field_pool=field_pool,
      head_width=head_width,
      image_channels=channels,
      dtype=dtype,
    )

  def run_on(params, image):
    return bind(model_for(image.shape[-1]), params)

  def init(rng, batch):
    return model_for(batch['image'].shape[-1]).init(rng, batch['image'])['params']

  def loss(params, rng, batch, step):
    """CE + Dice, whose preference, reconstruction, KL of the Dirichlet and of the field."""
    del step
    run = run_on(params, batch['image'])
    keys = jax.vmap(lambda key: jax.random.split(key, 3))(image_keys(rng, batch['index']))
    rater = losses.choose_rater(keys[:, 0], batch['annotated'])
    style, alpha = one_hot_style(rater, num_raters), run('concentrations')
    tau = per_device(jax.vmap(jax.random.dirichlet))(keys[:, 1], alpha[rater])
    features = run('features', batch['image']).full
    field = run('field', features, style)
    drawn = draw_field(keys[:, 2], field)
    logits = run('decode', features, drawn, tau[:, None])[:, 0]
    terms = losses.segmentation(logits, losses.masks_of(batch['masks'], rater))
    log_probs = jax.nn.log_softmax(run('classify', tau))
    terms['classifier'] = -jnp.take_along_axis(log_probs, rater[:, None], 1)[:, 0]
    error = run('reconstruct', drawn, style)[:, 0] - average_pool(batch['image'], field_pool)
    terms['reconstruction'] = jnp.square(error).mean((1, 2, 3))
    spatial = losses.kl_standard(field.mean[:, 0], field.log_sigma[:, 0]).mean((1, 2))
    terms |= losses.kl_terms(spatial)
    terms['kl'] = spatial.mean(-1)
    terms['kl_rater'] = losses.kl_dirichlet(alpha)[rater]
    value = terms['cross_entropy'] + terms['dice'] + classifier_weight * terms['classifier']
    value += reconstruction_weight * terms['reconstruction']
    return Loss(value + kl_weight * (terms['kl'] + terms['kl_rater']), terms)

  def sample(params, rngs, image, num_samples):
    run = run_on(params, image)
    keys = jax.vmap(lambda key: jax.random.split(key, 3))(rngs)
    ones = jnp.ones(rater_dim)
    preferences = jax.vmap(lambda key: jax.random.dirichlet(key, ones, (num_samples,)))
    tau = per_device(preferences)(keys[:, 0])
    choose = jax.vmap(lambda key: jax.random.randint(key, (num_samples,), 0, num_raters))
    features = run('features', image).full
    field = run('field', features, jnp.eye(num_raters))
    rows, raters = jnp.arange(len(image))[:, None], choose(keys[:, 1])
    chosen = Field(field.mean[rows, raters], field.log_sigma[rows, raters])
    return jax.nn.softmax(run('decode', features, draw_field(keys[:, 2], chosen), tau))

  def personalize(params, rngs, image, style):
    del rngs
    run = run_on(params, image)
    alpha = style @ run('concentrations')
    tau = same_style(alpha / alpha.sum(-1, keepdims=True), len(image))
    features = run('features', image).full
    field = run('field', features, style)
    return jax.nn.softmax(run('decode', features, field.mean, tau))

  own = RaterParams('^(alpha|signature|statistics|remap)', '^alpha')
  return Method(init, loss, sample, personalize, own)


def draw_field(keys: Rngs, field: Field) -> Float[Array, 'b s h w c']:
  """A reparameterized draw at every pixel, one key per image."""
  shape = field.mean.shape[1:]
  noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
  return field.mean + jnp.exp(field.log_sigma) * noise
