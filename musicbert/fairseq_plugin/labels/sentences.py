"""Tasks of one label or several a sequence: ``next``, ``acc``, genre and style in upstream's data layout.

============================================  ======================================================
task                                          label of a sequence
============================================  ======================================================
``octuple_sentence_prediction``               one class (or numbers with ``--regression-target``)
``sentence_prediction``                       the same, where the data are octuples
``sentence_prediction_multilabel``            any number of classes
============================================  ======================================================

The first two use fairseq's criterion ``sentence_prediction``, the third `MultilabelCriterion`. fairseq has a
task ``sentence_prediction`` of its own, so, as with ``masked_lm``, the entry of the public ``TASK_REGISTRY``
is replaced. Upstream's ``--init-token 0`` and ``--separator-token 2`` are accepted: nothing is put before
octuples.

``--encoding cp`` and ``remi`` (not of ``sentence_prediction``) are the forms of the paper's ablation:
octuples are converted as they are read, and weights that were pre-trained on another form are refused.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import TASK_REGISTRY, register_task
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from omegaconf import II

from musicbert.corpus.labelled import SentenceBin
from musicbert.corpus.labelled.pieces import Kind
from musicbert.encoding.views import VIEWS
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.databin import is_octuple_dictionary
from musicbert.fairseq_plugin.data.task import change, flag
from musicbert.fairseq_plugin.labels.task import LabelTask, PieceConfig
from musicbert.fairseq_plugin.labels.terms import Term

logger = logging.getLogger(__name__)

_ENCODINGS = ChoiceEnum(list(VIEWS))
_ENCODING_HELP = "octuple, or the CP-like and REMI-like forms of the paper's ablation"


class SentenceTask(LabelTask):
    """Labels of sequences of octuples."""

    kind: ClassVar[Kind] = "classes"

    def __init__(self, cfg: Any, data: SentenceBin, kind: Kind) -> None:
        super().__init__(cfg, data, [Term("label", kind, cfg.classification_head_name)])
        asked = str(getattr(cfg, "encoding", "octuple"))  # checkpoints may be older than the flag
        self.view = next(view for view in VIEWS if view == asked)

    @classmethod
    def setup_task(cls, cfg: Any, **_: Any) -> "SentenceTask":
        """Open a data-bin; by default the data give the number of classes.

        Raises `DatasetError` (those of `SentenceBin`; ``class-count-mismatch``).
        """
        asked = cfg.num_classes if cfg.num_classes > 0 else None
        kind: Kind = "regression" if getattr(cfg, "regression_target", False) else cls.kind
        if kind == "regression" and asked is None:
            message = "--regression-target needs the number of outputs"
            raise DatasetError("class-count-mismatch", message, path=cfg.data, hint="give --num-classes")
        data = SentenceBin(cfg.data, kind=kind, outputs=asked)
        classes = data.labels["label"].classes
        known = sum(not name.startswith("unused-") for name in classes)
        if known < len(classes):
            # upstream makes the dictionary from the training part of a fold, which may lack a rare class
            logger.warning("--num-classes %d: only %d of them are in the data", len(classes), known)
        change(cfg, num_classes=len(classes))
        return cls(cfg, data, kind)

    @property
    def label_dictionary(self) -> Dictionary:
        """Dictionary of the labels."""
        path = Path(self.cfg.data) / "label" / "dict.txt"
        return Dictionary.load(str(path)) if path.is_file() else self.dictionary


@dataclass
class OctupleSentenceConfig(SentencePredictionConfig):
    """fairseq's options of the task, and the form of the music."""

    encoding: _ENCODINGS = flag("octuple", _ENCODING_HELP)  # type: ignore[valid-type]  # noqa: RUF009


@register_task("octuple_sentence_prediction", dataclass=OctupleSentenceConfig)
class OctupleSentenceTask(SentenceTask):
    """One label a sequence of octuples; other data are refused."""


@dataclass
class MultilabelConfig(PieceConfig):
    """Options of the task; the names are those of the published scripts."""

    num_classes: int = flag(-1, "classes; -1 takes them from the data")
    encoding: _ENCODINGS = flag("octuple", _ENCODING_HELP)  # type: ignore[valid-type]  # noqa: RUF009
    classification_head_name: str = II("criterion.classification_head_name")


@register_task("sentence_prediction_multilabel", dataclass=MultilabelConfig)
class MultilabelTask(SentenceTask):
    """Any number of classes a sequence."""

    kind: ClassVar[Kind] = "multilabel"


class PublishedSentenceTask(SentencePredictionTask):
    """fairseq's ``sentence_prediction``; where the data are octuples, `OctupleSentenceTask` opens them."""

    @classmethod
    def setup_task(cls, cfg: SentencePredictionConfig, **more: Any) -> Any:
        """Open a data-bin."""
        path = Path(cfg.data) / "input0" / "dict.txt"
        octuples = path.is_file() and is_octuple_dictionary(Dictionary.load(str(path)))
        return OctupleSentenceTask.setup_task(cfg) if octuples else super().setup_task(cfg, **more)


def use_published_sentence_prediction() -> None:
    """Let ``--task sentence_prediction`` read octuples as published."""
    TASK_REGISTRY["sentence_prediction"] = PublishedSentenceTask
