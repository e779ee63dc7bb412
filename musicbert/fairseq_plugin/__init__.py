"""The only door to fairseq: tasks, models and criterions, registered when this package is imported."""

import musicbert.fairseq_plugin.backbones.m2bert
import musicbert.fairseq_plugin.backbones.midibert
import musicbert.fairseq_plugin.backbones.musicbert
import musicbert.fairseq_plugin.contrastive.criterions
import musicbert.fairseq_plugin.contrastive.model
import musicbert.fairseq_plugin.contrastive.task
import musicbert.fairseq_plugin.labels.criterion
import musicbert.fairseq_plugin.labels.ratings
import musicbert.fairseq_plugin.labels.sentences
import musicbert.fairseq_plugin.labels.taggers
import musicbert.fairseq_plugin.optimisers.adamw
import musicbert.fairseq_plugin.optimisers.stable_adamw
import musicbert.fairseq_plugin.pretraining.masked_lm_criterion
import musicbert.fairseq_plugin.pretraining.masked_lm_task
import musicbert.fairseq_plugin.pretraining.note_criterion
import musicbert.fairseq_plugin.pretraining.note_task  # noqa: F401
from musicbert.fairseq_plugin.compat import (
    allow_bfloat16_on_gpu,
    allow_training_state,
    end_loading_processes,
    use_published_masked_lm,
)
from musicbert.fairseq_plugin.labels.sentences import use_published_sentence_prediction

allow_training_state()
allow_bfloat16_on_gpu()
end_loading_processes()
use_published_masked_lm()
use_published_sentence_prediction()
