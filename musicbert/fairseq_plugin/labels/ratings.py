"""The fairseq task ``xai``: performer classes and ratings of pieces from OctupleMIDI tokens.

Reads a data-bin (``input0/``, ``label/``, and ``performance/`` with ``--performance-input``), checks that
its parts belong together, and gives the model heads whose sizes come from the data. What a criterion needs:

================================= ===================================== ==================================
criterion                         head ``--classification-head-name``   head ``--regression-head-name``
================================= ===================================== ==================================
``M2P_xai``                       performers                            -
``M2PF_xai``, ``M2PF_xai_adv``    ratings (sic, as published)           -
``M2PFnP_xai``                    performers                            ratings
================================= ===================================== ==================================
"""

import contextlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np
from fairseq import models
from fairseq.data import Dictionary, data_utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING, OmegaConf, open_dict

from musicbert.corpus.bins.databin import read_index
from musicbert.corpus.bins.performance import performance_width
from musicbert.corpus.labelled.rating_bin import (
    BINARISE,
    RatingBin,
    RatingLabels,
    RatingSchema,
    read_labels,
    read_schema,
)
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.databin import load_dictionary, load_performance
from musicbert.fairseq_plugin.data.one_dictionary import OneDictionary
from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation
from musicbert.fairseq_plugin.labels.rating_dataset import RatingDataset
from musicbert.fairseq_plugin.labels.terms import Term

__all__ = ["HEADS_OF", "RatingConfig", "RatingTask"]

logger = logging.getLogger(__name__)

#: criterion -> what the classification head and the regression head give
HEADS_OF: dict[str, tuple[str, str | None]] = {
    "M2P_xai": ("performers", None),
    "M2PF_xai": ("ratings", None),
    "M2PF_xai_adv": ("ratings", None),
    "M2PFnP_xai": ("performers", "ratings"),
}

_SHORTEN = ChoiceEnum(["none", "truncate", "random_crop"])


@dataclass
class RatingConfig(FairseqDataclass):
    """Options of the task; the names are those of the published scripts."""

    data: str = field(default=MISSING, metadata={"help": "folder of one fold of a data-bin"})
    num_cls_classes: int = field(
        default=-1, metadata={"help": "outputs of the classification head; -1 takes them from the data"}
    )
    num_reg_classes: int = field(
        default=-1, metadata={"help": "outputs of the regression head; -1 takes them from the data"}
    )
    init_token: Optional[int] = field(  # noqa: UP045 - fairseq reads no unions
        default=None, metadata={"help": "accepted for old scripts, no effect"}
    )
    separator_token: Optional[int] = field(  # noqa: UP045
        default=None, metadata={"help": "accepted for old scripts, no effect"}
    )
    regression_target: bool = field(default=False, metadata={"help": "accepted for old scripts, no effect"})
    no_shuffle: bool = field(
        default=False, metadata={"help": "keep the same batches in every epoch (their order is still drawn)"}
    )
    shorten_method: _SHORTEN = field(
        default="none",
        metadata={"help": "what to do with pieces longer than --max-positions (ignored with --compat)"},
    )
    max_positions: int = field(default=8192, metadata={"help": "longest piece in tokens"})
    classification_head_name: str = field(
        default="xai_head", metadata={"help": "name of the classification head"}
    )
    regression_head_name: str = field(
        default="xai_regression_head", metadata={"help": "name of the regression head"}
    )
    performance_input: bool = field(
        default=False,
        metadata={"help": "read continuous performance inputs (pedal, timing) from performance/"},
    )
    augment: str = field(
        default="",
        metadata={"help": "change training notes: transpose=5,velocity=1,stretch=0.1,phase=8,bar,drop=0.1"},
    )
    compat: bool = field(
        default=False,
        metadata={
            "help": "reproduce the published code, faults included: metrics averaged over mini-batches, the "
            "column form of the contrastive loss, raw logits in the adversary, the performer's class as an "
            "input of the annotation encoder, 14 contrastive classes"
        },
    )
    seed: int = II("common.seed")
    criterion_name: str = II("criterion._name")


def terms_of(cfg):
    heads = {"classification": cfg.classification_head_name, "regression": cfg.regression_head_name}
    return tuple(
        Term("performer", "classes", heads[family], family)
        if label == "performers"
        else Term("ratings", "regression", heads[family], family, "sigmoid")
        for family, label in zip(heads, HEADS_OF.get(cfg.criterion_name, ()))
        if label
    )


@register_task("xai", dataclass=RatingConfig)
class RatingTask(OneDictionary, FairseqTask):
    """Predict performers and ratings of pieces."""

    def __init__(self, cfg: RatingConfig, dictionary: Dictionary, schema: RatingSchema) -> None:
        super().__init__(cfg)
        self.dictionary = dictionary
        self.schema = schema
        self.compat = bool(cfg.compat)
        self.augmentation = parse_augmentation(cfg.augment)
        self.performance_features = performance_width(cfg.data) if cfg.performance_input else 0
        self.terms = terms_of(cfg)

    @classmethod
    def setup_task(cls, cfg: RatingConfig, **_: Any) -> "RatingTask":
        """Open a data-bin: its dictionary and the names of classes and dimensions.

        Raises
        ------
        DatasetError
            ``not-found``, ``wrong-dictionary`` and those of ``read_schema``.
        """
        path = Path(cfg.data) / "input0" / "dict.txt"
        if not path.exists():
            raise DatasetError(
                "not-found",
                "no data-bin here (no input0/dict.txt)",
                path=cfg.data,
                hint="give the folder of one fold, such as xai_data_bin_apex_reg_cls/0",
            )
        dictionary = load_dictionary(path.parent)
        schema = read_schema(cfg.data)
        logger.info("%d performers, %d rated dimensions", len(schema.classes), len(schema.dimensions))
        return cls(cfg, dictionary, schema)

    def max_positions(self) -> int:
        """Longest piece in tokens."""
        return self.cfg.max_positions

    # -- data
    # ----------------------------------------------------------------------------------------------------

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> RatingDataset:
        """Load a split and check that tokens, labels and performance inputs belong together.

        Raises
        ------
        DatasetError
            ``missing-split``, ``empty-split``, ``bad-index``, ``wrong-length``, ``wrong-dictionary``,
            those of `load_performance` and those of ``read_labels``.
        """
        del combine
        prefix = Path(self.cfg.data) / "input0" / split
        if not prefix.with_name(f"{split}.idx").exists():
            raise DatasetError(
                "missing-split", f"the data-bin has no split {split!r}", path=prefix, hint=BINARISE
            )
        sizes = read_index(prefix)
        if len(sizes) == 0:
            raise DatasetError(
                "empty-split", f"the split {split!r} holds no piece", path=prefix, hint="split the data anew"
            )
        tokens = data_utils.load_indexed_dataset(str(prefix), self.dictionary)
        labels = read_labels(self.cfg.data, split, self.schema)
        if len(labels) != len(tokens):
            raise DatasetError(
                "wrong-length",
                f"{len(labels)} labels for {len(tokens)} pieces",
                path=Path(self.cfg.data) / "label" / f"{split}.label",
                hint=BINARISE,
            )
        RatingBin(self.cfg.data, parts=[split])  # checks that the tokens are notes
        training = split == "train"
        dataset = RatingDataset(
            tokens,
            sizes,
            labels,
            performance=load_performance(self.cfg.data, split, sizes) if self.cfg.performance_input else None,
            performers=self.performers(labels),
            pad=self.dictionary.pad(),
            augmentation=self.augmentation if training else None,
            shorten="none" if self.compat else str(self.cfg.shorten_method),
            max_tokens=self.cfg.max_positions,
            shuffle=training and not self.cfg.no_shuffle,
            seed=self.cfg.seed,
            compat=self.compat,
        )
        logger.info("%s: %d pieces", split, len(dataset))
        self.datasets[split] = dataset
        return dataset

    def performers(self, labels: RatingLabels) -> np.ndarray | None:
        """Return classes to put before the ratings; none here."""
        del labels

    # -- model
    # ---------------------------------------------------------------------------------------------------

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model and give it the heads that the criterion needs.

        Raises
        ------
        DatasetError
            ``class-count-mismatch`` where ``--num-cls-classes`` or ``--num-reg-classes`` is not what the
            data have.
        """
        with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
            cfg.max_positions = self.cfg.max_positions
            cfg.performance_features = self.performance_features
        model = models.build_model(cfg, self, from_checkpoint)
        classification, regression = HEADS_OF.get(self.cfg.criterion_name, (None, None))
        if classification is not None:
            outputs = self.head_size(classification, "num_cls_classes")
            model.register_classification_head(self.cfg.classification_head_name, outputs)
        if regression is not None:
            outputs = self.head_size(regression, "num_reg_classes")
            model.register_regression_head(self.cfg.regression_head_name, outputs)
        return model

    def head_size(self, kind: str, option: str) -> int:
        """Return the number of outputs of a head, checked against the option that the user gave.

        With ``--compat`` a larger number is accepted, as the published code accepts it.
        """
        found = len(self.schema.classes if kind == "performers" else self.schema.dimensions)
        asked = getattr(self.cfg, option)
        if asked > 0 and asked != found and not (self.compat and asked > found):
            flag = f"--{option.replace('_', '-')}"
            raise DatasetError(
                "class-count-mismatch",
                f"{flag} {asked}, but the data have {found} {kind}",
                path=self.cfg.data,
                hint=f"leave {flag} out, or give {found}",
            )
        return asked if asked > 0 else found
