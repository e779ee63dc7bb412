"""Contrastive pre-training of performances against their ratings."""
