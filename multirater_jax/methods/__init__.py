"""One paper, one file, one factory that returns a ``Method``."""

from multirater_jax.methods.annotator_consensus import annotator_consensus
from multirater_jax.methods.calidiff import calidiff
from multirater_jax.methods.ccdm import ccdm
from multirater_jax.methods.cimd import cimd
from multirater_jax.methods.diffoseg import diffoseg
from multirater_jax.methods.dpersona import dpersona
from multirater_jax.methods.harmonized import harmonized
from multirater_jax.methods.pionono import pionono
from multirater_jax.methods.prob_unet import prob_unet
from multirater_jax.methods.proseg import proseg
from multirater_jax.methods.prosona import prosona

METHODS = {
  'annotator_consensus': annotator_consensus,
  'calidiff': calidiff,
  'ccdm': ccdm,
  'cimd': cimd,
  'diffoseg': diffoseg,
  'dpersona': dpersona,
  'harmonized': harmonized,
  'pionono': pionono,
  'prob_unet': prob_unet,
  'proseg': proseg,
  'prosona': prosona,
}
