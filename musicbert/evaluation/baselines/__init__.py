"""Baselines without a neural network, fitted on the same training parts as the networks."""
