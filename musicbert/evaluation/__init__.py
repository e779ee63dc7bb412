"""Predictions to scores: metrics, baselines, reports. Sees arrays, label maps and files, never a model."""
