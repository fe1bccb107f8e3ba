"""LIDC-IDRI nodule slices with four mask slots, from the public ready-made crops."""
