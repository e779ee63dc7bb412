"""Tasks of one label or several a sequence: ``next``, ``acc``, genre and style in upstream's data layout.

============================================  ======================================================
task                                          label of a sequence
============================================  ======================================================
``octuple_sentence_prediction``               one class (or numbers with ``--regression-target``)
``sentence_prediction``                       the same, where the data are octuples
``sentence_prediction_multilabel``            any number of classes
============================================  ======================================================

The first two go with fairseq's criterion ``sentence_prediction``, the third with
``sentence_prediction_multilabel`` (`musicbert.fairseq_plugin.labels.multilabel_criterion`). fairseq has
a task
``sentence_prediction`` of its own, and registering a taken name silently gives the old class back; so, as
with ``masked_lm``, the entry of the public ``TASK_REGISTRY`` is set to a subclass that does what fairseq's
own does for any other dictionary. Upstream's ``--init-token 0`` and ``--separator-token 2`` are accepted:
nothing is put before octuples.

``--encoding cp`` and ``remi`` (not of ``sentence_prediction``) are the forms of the paper's ablation:
octuples are converted as they are read (`musicbert.encoding.sequence_views`), and weights that are known to
be pre-trained on another form are refused.
"""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
import contextlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from fairseq import models
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import TASK_REGISTRY, FairseqTask, register_task
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from omegaconf import II, MISSING, OmegaConf, open_dict

from musicbert.encoding.views import VIEWS, View
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.databin import is_octuple_dictionary, load_dictionary
from musicbert.fairseq_plugin.data.one_dictionary import OneDictionary
from musicbert.fairseq_plugin.labels.sentence_data import (
    class_names,
    label_classes,
    label_sets,
    label_values,
    load_labels,
    open_sentences,
)
from musicbert.fairseq_plugin.labels.sentence_dataset import SentenceDataset
from musicbert.fairseq_plugin.labels.terms import Term

__all__ = [
    "MultilabelConfig",
    "MultilabelTask",
    "OctupleSentenceTask",
    "PublishedSentenceTask",
    "use_published_sentence_prediction",
]

logger = logging.getLogger(__name__)

_SHORTEN = ChoiceEnum(["none", "truncate", "random_crop"])
_ENCODINGS = ChoiceEnum(list(VIEWS))
_ENCODING_HELP = "octuple, or the CP-like and REMI-like forms of the paper's ablation"


def _outputs(asked: int, classes: list[str], folder: str) -> int:
    """Number of outputs: that of the classes, or a larger one that the user asks for.

    Upstream makes the dictionary from the training part of a fold, which may lack a rare class, and asks for
    all 13 or 25.
    """
    if asked > len(classes):
        logger.warning("--num-classes %d: only %d of them are in the data", asked, len(classes))
        return asked
    if 0 < asked < len(classes):
        raise DatasetError(
            "class-count-mismatch",
            f"--num-classes {asked}, but the data have {len(classes)}: {', '.join(classes)}",
            path=folder,
            hint=f"leave --num-classes out, or give {len(classes)}",
        )
    return len(classes)


def _build(task: Any, cfg: Any, from_checkpoint: bool) -> Any:
    """Build the model with the head of the task."""
    with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
        cfg.max_positions = task.cfg.max_positions
        if task.view == "remi":
            cfg.no_compound = True
    model = models.build_model(cfg, task, from_checkpoint)
    model.register_classification_head(task.cfg.classification_head_name, num_classes=task.cfg.num_classes)
    return model


def _view(cfg: Any) -> View:
    """Form of the music; tasks and checkpoints without the flag read octuples."""
    asked = str(getattr(cfg, "encoding", "octuple"))
    return next(view for view in VIEWS if view == asked)


class PublishedSentenceTask(SentencePredictionTask):
    """fairseq's ``sentence_prediction``, for octuples where the data are octuples."""

    @property
    def view(self) -> View:
        """Form of the music that the model reads."""
        return _view(self.cfg)

    @classmethod
    def setup_task(cls, cfg: SentencePredictionConfig, **more: Any) -> "PublishedSentenceTask":
        """Open the dictionaries; the number of classes comes from the data where it is not given.

        Raises
        ------
        DatasetError
            ``class-count-mismatch``, ``not-found``.
        """
        path = Path(cfg.data) / "input0" / "dict.txt"
        if not path.is_file() or not is_octuple_dictionary(Dictionary.load(str(path))):
            return super().setup_task(cfg, **more)
        dictionary = load_dictionary(path.parent)
        if cfg.regression_target:
            _require_count(cfg)
            return cls(cfg, dictionary, dictionary)
        labels = load_labels(cfg.data)
        classes = class_names(labels)
        with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
            cfg.num_classes = _outputs(cfg.num_classes, classes, cfg.data)
        logger.info("%d classes: %s", len(classes), ", ".join(classes))
        return cls(cfg, dictionary, labels)

    def load_dataset(self, split: str, combine: bool = False, **more: Any) -> Any:
        """Open a split.

        Raises
        ------
        DatasetError
            Those of :mod:`musicbert.fairseq_plugin.labels.sentence_data`.
        """
        if not is_octuple_dictionary(self.dictionary):
            return super().load_dataset(split, combine=combine, **more)
        if self.cfg.regression_target:
            targets = label_values(self.cfg.data, split, self.cfg.num_classes)
        else:
            targets = label_classes(self.cfg.data, split, self._label_dictionary)
        self.datasets[split] = _sentences(self, split, targets, combine)
        return self.datasets[split]

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model with its head."""
        return _build(self, cfg, from_checkpoint)


@dataclass
class OctupleSentenceConfig(SentencePredictionConfig):
    """fairseq's options of the task, and the form of the music."""

    encoding: _ENCODINGS = field(default="octuple", metadata={"help": _ENCODING_HELP})  # type: ignore[valid-type]


@register_task("octuple_sentence_prediction", dataclass=OctupleSentenceConfig)
class OctupleSentenceTask(PublishedSentenceTask):
    """One label a sequence of octuples; other data are refused."""

    @classmethod
    def setup_task(cls, cfg: OctupleSentenceConfig, **more: Any) -> "OctupleSentenceTask":
        """Open the dictionaries.

        Raises
        ------
        DatasetError
            ``not-found``, ``wrong-dictionary``, ``class-count-mismatch``.
        """
        load_dictionary(Path(cfg.data) / "input0")
        return super().setup_task(cfg, **more)


def _require_count(cfg: SentencePredictionConfig) -> None:
    if cfg.num_classes < 1:
        raise DatasetError(
            "class-count-mismatch",
            "--regression-target needs the number of outputs",
            path=cfg.data,
            hint="give --num-classes",
        )


def _sentences(task: Any, split: str, targets: Any, combine: bool) -> SentenceDataset:
    return open_sentences(
        task.cfg.data,
        split,
        task.dictionary,
        targets,
        shorten=str(task.cfg.shorten_method),
        max_positions=task.cfg.max_positions,
        shuffle=split == "train" and not task.cfg.no_shuffle,
        seed=task.cfg.seed,
        combine=combine,
        view=task.view,
    )


@dataclass
class MultilabelConfig(FairseqDataclass):
    """Options of the task; the names are those of the published scripts."""

    data: str = field(default=MISSING, metadata={"help": "folder of one fold of a data-bin"})
    num_classes: int = field(default=-1, metadata={"help": "classes; -1 takes them from the data"})
    init_token: Optional[int] = field(  # noqa: UP045 - fairseq reads no unions
        default=None, metadata={"help": "accepted for old scripts, no effect"}
    )
    separator_token: Optional[int] = field(  # noqa: UP045
        default=None, metadata={"help": "accepted for old scripts, no effect"}
    )
    no_shuffle: bool = field(default=False, metadata={"help": "keep the same batches in every epoch"})
    shorten_method: _SHORTEN = field(
        default="none", metadata={"help": "what to do with sequences longer than --max-positions"}
    )
    max_positions: int = field(default=8192, metadata={"help": "longest sequence in tokens"})
    encoding: _ENCODINGS = field(default="octuple", metadata={"help": _ENCODING_HELP})  # type: ignore[valid-type]
    classification_head_name: str = II("criterion.classification_head_name")
    seed: int = II("common.seed")


@register_task("sentence_prediction_multilabel", dataclass=MultilabelConfig)
class MultilabelTask(OneDictionary, FairseqTask):
    """Any number of classes a sequence."""

    def __init__(self, cfg: MultilabelConfig, dictionary: Dictionary, labels: Dictionary) -> None:
        super().__init__(cfg)
        self.dictionary, self._label_dictionary = dictionary, labels
        self.view = _view(cfg)
        self.terms = (Term("label", "multilabel", cfg.classification_head_name),)

    @classmethod
    def setup_task(cls, cfg: MultilabelConfig, **_: Any) -> "MultilabelTask":
        """Open the dictionaries.

        Raises
        ------
        DatasetError
            ``not-found``, ``wrong-dictionary``, ``class-count-mismatch``.
        """
        dictionary = load_dictionary(Path(cfg.data) / "input0")
        labels = load_labels(cfg.data)
        classes = class_names(labels)
        with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
            cfg.num_classes = _outputs(cfg.num_classes, classes, cfg.data)
        logger.info("%d classes: %s", len(classes), ", ".join(classes))
        return cls(cfg, dictionary, labels)

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> SentenceDataset:
        """Open a split.

        Raises
        ------
        DatasetError
            Those of :mod:`musicbert.fairseq_plugin.labels.sentence_data`.
        """
        targets = label_sets(self.cfg.data, split, self._label_dictionary, self.cfg.num_classes)
        self.datasets[split] = _sentences(self, split, targets, combine)
        return self.datasets[split]

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model with its head."""
        return _build(self, cfg, from_checkpoint)

    def max_positions(self) -> int:
        """Longest sequence in tokens."""
        return self.cfg.max_positions

    @property
    def label_dictionary(self) -> Dictionary:
        """Dictionary of the labels."""
        return self._label_dictionary


def use_published_sentence_prediction() -> None:
    """Let ``--task sentence_prediction`` read octuples as published."""
    TASK_REGISTRY["sentence_prediction"] = PublishedSentenceTask
