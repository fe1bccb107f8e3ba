"""Lung nodules that never were: images and raters whose truth is known."""
