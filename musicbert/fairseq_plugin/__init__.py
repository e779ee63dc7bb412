"""The only door to fairseq: tasks, models and criterions, registered when this package is imported."""

from musicbert.fairseq_plugin import (
    compound_token,
    contrastive_criterions,
    contrastive_model,
    contrastive_task,
    fused_adamw,
    layerwise_adamw,
    m2bert_model,
    masked_lm,
    masked_lm_task,
    midibert_model,
    model,
    multilabel_criterion,
    music_pretrain,
    rating_criterions,
    rating_task,
    sentence_task,
    stable_adamw,
    tagging_criterion,
    tagging_task,
)
from musicbert.fairseq_plugin.compat import (
    allow_bfloat16_on_gpu,
    allow_training_state,
    end_loading_processes,
    use_published_masked_lm,
)
from musicbert.fairseq_plugin.sentence_task import use_published_sentence_prediction

__all__ = [
    "compound_token",
    "contrastive_criterions",
    "contrastive_model",
    "contrastive_task",
    "fused_adamw",
    "layerwise_adamw",
    "m2bert_model",
    "masked_lm",
    "masked_lm_task",
    "midibert_model",
    "model",
    "multilabel_criterion",
    "music_pretrain",
    "rating_criterions",
    "rating_task",
    "sentence_task",
    "stable_adamw",
    "tagging_criterion",
    "tagging_task",
]

allow_training_state()
allow_bfloat16_on_gpu()
end_loading_processes()
use_published_masked_lm()
use_published_sentence_prediction()
