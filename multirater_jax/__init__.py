"""Segmentation that keeps every rater: diverse, personalized, consensus, uncertainty.

A method is a tuple of pure functions (``Method``); ``METHODS`` maps names to factories. The rest
are plain-array calls: ``load`` a trained run, ``sample`` and ``personalize`` it, ``adapt`` it to a
new rater, ``score`` masks.
"""

from multirater_jax.adapt import adapt
from multirater_jax.method import Batch, Loss, Method
from multirater_jax.methods import METHODS
from multirater_jax.metrics.score import score
from multirater_jax.predict import load, personalize, sample

__all__ = ['METHODS', 'Batch', 'Loss', 'Method', 'adapt', 'load', 'personalize', 'sample', 'score']
