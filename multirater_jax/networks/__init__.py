"""Linen modules. They know nothing of raters, losses or data."""
