"""Contrastive pre-training of performances against their ratings, and fine-tuning on performers from it."""
