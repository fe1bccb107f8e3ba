"""Scores of samples and personalized outputs against several raters: arrays in, numbers out."""

from multirater_jax.metrics.overlap import Counts, add, add_to_units, count, zeros
from multirater_jax.metrics.scores import dice_matrix, unit_scores

__all__ = ['Counts', 'add', 'add_to_units', 'count', 'dice_matrix', 'unit_scores', 'zeros']
