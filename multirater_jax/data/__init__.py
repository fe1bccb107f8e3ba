"""From records to batches: reading, splits, augmentation, simulated artefacts."""
