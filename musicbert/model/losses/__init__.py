"""Losses of pre-training and fine-tuning, as functions of tensors."""
