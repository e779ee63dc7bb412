"""Pre-training objectives: what is masked or disturbed, what is to be predicted, and batches of it."""
