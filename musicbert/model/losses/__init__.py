"""Losses as functions of tensors: labels and the adversary, contrast, masked LM, notes and piano rolls."""
