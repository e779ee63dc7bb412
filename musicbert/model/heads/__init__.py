"""Heads on hidden states: sentences, notes and pieces."""
