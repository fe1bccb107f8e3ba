"""Checkpoints that are complete, proven by digests, and never evict the newest or the best."""

from multirater_jax.checkpoints.digests import CheckpointError, digest
from multirater_jax.checkpoints.manager import Checkpoints
from multirater_jax.checkpoints.reader import DamagedCheckpointError, restore_params

__all__ = ['CheckpointError', 'Checkpoints', 'DamagedCheckpointError', 'digest', 'restore_params']
