"""Checkpoints of M2BERT and MidiBERT: names of tensors, folders, model cards."""
