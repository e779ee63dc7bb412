"""Contrastive pre-training of performances against their ratings, and fine-tuning on performers from it.

Model, task and criterions; the data set is that of `musicbert.fairseq_plugin.labels`.
"""
