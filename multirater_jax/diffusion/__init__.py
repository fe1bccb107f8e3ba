"""Stochastic processes between masks and noise: arrays in, arrays out, no network."""
