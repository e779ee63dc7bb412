"""The only door to fairseq: tasks, models and criterions, registered when this package is imported."""

import logging
from importlib.util import find_spec

for _package in ("fairseq", "torch", "tqdm"):  # a missing one is told of before seconds of imports
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)

# asks on every start to install what nothing here uses
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

from musicbert.fairseq_plugin.backbones import m2bert, midibert, musicbert  # noqa: F401
from musicbert.fairseq_plugin.checkpoints import keep_checkpoints_whole
from musicbert.fairseq_plugin.compat import (
    allow_bfloat16_on_gpu,
    end_loading_processes,
    hide_notices_of_packages,
    load_safely,
    use_published_masked_lm,
)
from musicbert.fairseq_plugin.contrastive import criterions, model, task  # noqa: F401
from musicbert.fairseq_plugin.labels import criterion, ratings, sentences, taggers  # noqa: F401
from musicbert.fairseq_plugin.labels.sentences import use_published_sentence_prediction
from musicbert.fairseq_plugin.optimisers import adamw, stable_adamw  # noqa: F401
from musicbert.fairseq_plugin.pretraining import (  # noqa: F401
    masked_lm_criterion,
    masked_lm_task,
    note_criterion,
    note_task,
)

hide_notices_of_packages()
load_safely()
allow_bfloat16_on_gpu()
end_loading_processes()
keep_checkpoints_whole()
use_published_masked_lm()
use_published_sentence_prediction()
