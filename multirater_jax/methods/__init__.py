"""One paper, one file, one factory that returns a ``Method``."""

from multirater_jax.methods.harmonized import harmonized
from multirater_jax.methods.prob_unet import prob_unet

METHODS = {
  'harmonized': harmonized,
  'prob_unet': prob_unet,
}
