"""Checkpoints: loading them safely, mapping their names."""

from musicbert.weights.container import Checkpoint, load_checkpoint
from musicbert.weights.loading import load_into, load_model
from musicbert.weights.mapping import KeyReport, check_heads, fit_weights, infer_config, rename

__all__ = [
    "Checkpoint",
    "KeyReport",
    "check_heads",
    "fit_weights",
    "infer_config",
    "load_checkpoint",
    "load_into",
    "load_model",
    "rename",
]
