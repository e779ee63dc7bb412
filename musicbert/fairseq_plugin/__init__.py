"""The only door to fairseq: tasks, models and criterions, registered when this package is imported."""

from musicbert.fairseq_plugin import model
from musicbert.fairseq_plugin.compat import allow_training_state

__all__ = ["model"]

allow_training_state()
