"""Checkpoints: loading them safely, mapping their names."""
