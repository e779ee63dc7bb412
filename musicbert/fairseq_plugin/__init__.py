"""The only door to fairseq: tasks, models and criterions, registered when this package is imported."""

from musicbert.fairseq_plugin import (
    compound_token,
    contrastive_criterions,
    contrastive_model,
    contrastive_task,
    layerwise_adamw,
    m2bert_model,
    masked_lm,
    masked_lm_task,
    model,
    music_pretrain,
    rating_criterions,
    rating_task,
    stable_adamw,
    tagging_criterion,
    tagging_task,
)
from musicbert.fairseq_plugin.compat import allow_training_state, use_published_masked_lm

__all__ = [
    "compound_token",
    "contrastive_criterions",
    "contrastive_model",
    "contrastive_task",
    "layerwise_adamw",
    "m2bert_model",
    "masked_lm",
    "masked_lm_task",
    "model",
    "music_pretrain",
    "rating_criterions",
    "rating_task",
    "stable_adamw",
    "tagging_criterion",
    "tagging_task",
]

allow_training_state()
use_published_masked_lm()
