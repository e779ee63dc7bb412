"""Pre-training objectives: masking and noise, their targets, and batches."""
