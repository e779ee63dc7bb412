"""The fairseq tasks ``music_note_tagging`` and ``music_sequence_tagging``: labels of notes, or of pieces.

They read shards (`musicbert.corpus.labelled.shards`), cut the pieces of a split into windows, and put a
head on the
backbone that ``--arch`` names: MusicBERT on shards of octuples, M2BERT on shards of compound words. The
criterion is ``music_tagging``. Which pieces are trained on, validated and tested says a file of names
(``--split-file``: ``{"train": [...], "valid": [...], "test": [...]}``) or a split that the pieces came with
(``--split``).
"""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
import contextlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from fairseq import models
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING, OmegaConf, open_dict

from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.corpus.labelled.shards import Shards
from musicbert.encoding.vocabulary import MASK, TOKENS
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.one_dictionary import OneDictionary
from musicbert.fairseq_plugin.labels.criterion import log_score
from musicbert.fairseq_plugin.labels.dataset import TaggingDataset
from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation
from musicbert.fairseq_plugin.labels.sums import METRICS
from musicbert.fairseq_plugin.labels.tagging_model import TaggingModel
from musicbert.fairseq_plugin.labels.terms import Term
from musicbert.model import MusicBert
from musicbert.model.heads.tagger import TagSettings, freeze, scale_rates
from musicbert.predict.windows import Layout, cut

__all__ = ["NoteTaggingTask", "SequenceTaggingTask", "TaggingConfig", "read_split"]

logger = logging.getLogger(__name__)

PARTS = ("train", "valid", "test")
_HEADS = ChoiceEnum(["note", "first", "mean", "attention"])
_WINDOWS = ChoiceEnum(["all", "first"])
_WEIGHTS = ChoiceEnum(["none", "balanced", "sqrt"])


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class TaggingConfig(FairseqDataclass):
    """Options of the tasks."""

    data: str = _option(MISSING, "folder of shards")
    label: str = _option("", "label to learn; the only one of the shards if empty")
    split_file: Optional[str] = _option(None, "JSON with the names of the pieces of each part")  # noqa: UP045
    split: Optional[str] = _option(None, "split that the pieces came with, of train, valid and test")  # noqa: UP045
    ignore_classes: str = _option("", "numbers of classes that count as missing, joined with commas")
    metric: str = _option("", "metric to select by, or f1:CLASS; logged as `score`")
    class_weights: _WEIGHTS = _option("none", "weight of classes in the loss, by their frequency")  # type: ignore[valid-type]  # noqa: RUF009
    weight_label: str = _option("weight", "label that weighs the pieces in the loss, where there is one")
    window: int = _option(1000, "notes of a window")
    overlap: int = _option(0, "notes that neighbouring windows share")
    windows: _WINDOWS = _option("all", "windows of a piece that are read")  # type: ignore[valid-type]  # noqa: RUF009
    random_shift: bool = _option(False, "move the windows of training at random in every epoch")
    augment: str = _option(
        "", "change training notes: transpose=5,velocity=1,stretch=0.1,phase=8,bar,drop=0.1"
    )
    performance_input: bool = _option(False, "read continuous performance inputs (pedal, timing)")
    tag_head: _HEADS = _option("first", "head of a sequence task (a note task has its own)")  # type: ignore[valid-type]  # noqa: RUF009
    head_inner: int = _option(0, "width between two layers of the head; 0: see musicbert.model.heads.tagger")
    head_dropout: float = _option(0.1, "dropout in the head")
    attend_padding: bool = _option(False, "the attention head attends to padding too, as published")
    layer: int = _option(-1, "state that the head reads; 0 is before the first block, -1 the last")
    mix_layers: bool = _option(False, "the head reads a learned mixture of all states")
    freeze_layers: int = _option(0, "keep the embeddings and the first N blocks as they are")
    layer_decay: float = _option(
        1.0, "learning rate of a block over that of the next one (--optimizer layerwise_adamw)"
    )
    max_positions: int = _option(8192, "rows of the table of positions (MusicBERT)")
    seed: int = II("common.seed")
    optimizer_name: str = II("optimizer._name")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")


def read_split(path: str | Path, shards: Shards) -> dict[str, list[int]]:
    """Read the parts of a split: numbers of pieces.

    Raises
    ------
    DatasetError
        ``bad-split``: no JSON of this form, an unknown piece, or a piece in two parts.
    """
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8"))
        parts = {part: [shards.index[name] for name in names.get(part, [])] for part in PARTS}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError("bad-split", f"It is no split: {error}", path=path) from error
    except KeyError as error:
        raise DatasetError("bad-split", f"{error} is no piece of the data set", path=path) from error
    every = [piece for part in parts.values() for piece in part]
    if len(set(every)) < len(every):
        raise DatasetError("bad-split", "a piece is in two parts, or twice in one", path=path)
    return parts


class _TaggingTask(OneDictionary, FairseqTask):
    """What both tasks share."""

    level = ""

    def __init__(self, cfg: TaggingConfig, shards: Shards) -> None:
        super().__init__(cfg)
        self.shards = shards
        name = cfg.label or next((each for each in shards.labels if each != cfg.weight_label), "")
        shards.label(name)  # an unknown one is an error here
        self.column = shards.labels[name]
        if self.column.level != self.level:
            raise DatasetError(
                "wrong-level",
                f"the label {name!r} is one of each {self.column.level}",
                path=shards.path,
                hint=f"use --task music_{self.column.level}_tagging",
            )
        self.ignore = tuple(int(each) for each in cfg.ignore_classes.split(",") if each.strip())
        self.metric = cfg.metric or METRICS[self.column.kind][0]
        self._check_metric()
        #: how rows become tokens; the backbone decides
        self.layout: Layout | None = None
        self.augmentation = parse_augmentation(cfg.augment)
        self.parts = self._parts()
        self.dictionary = Dictionary()
        for token in TOKENS[4 : MASK + 1]:
            self.dictionary.add_symbol(token)
        self.performance_features = shards.performance_width if cfg.performance_input else 0
        self.centre, self.spread, self.class_weight = self._statistics()
        self.terms = (Term(name, self.column.kind),)

    def _check_metric(self) -> None:
        kind, classes = self.column.kind, self.column.classes
        known = [*METRICS[kind], *(f"f1:{name}" for name in classes if kind == "classes")]
        if self.metric not in known:
            raise DatasetError(
                "unknown-metric", f"no metric {self.metric!r} for {kind}; there are {', '.join(known)}"
            )

    def _parts(self) -> dict[str, list[int]]:
        if self.cfg.split_file:
            return read_split(self.cfg.split_file, self.shards)
        if self.cfg.split:
            found = self.shards.split(self.cfg.split)
            return {part: [self.shards.index[n] for n, p in found.items() if p == part] for part in PARTS}
        return {part: list(range(len(self.shards))) if part == "test" else [] for part in PARTS}

    @classmethod
    def setup_task(cls, cfg: TaggingConfig, **_: Any) -> "_TaggingTask":
        """Open the shards and the split.

        Raises
        ------
        DatasetError
            Those of `musicbert.corpus.labelled.shards.Shards` and `read_split`, ``unknown-label``,
            ``wrong-level``, ``unknown-metric``, ``bad-augmentation``.
        """
        return cls(cfg, Shards(cfg.data))

    def max_positions(self) -> int:
        """Longest window in rows."""
        return self.cfg.max_positions

    # -- data

    def training_labels(self) -> np.ndarray:
        """Labels of the training part, missing and ignored ones left out [shape=(M,) or (M, C)]."""
        labels, pieces = self.shards.label(self.column.name), self.parts["train"]
        if self.column.level == "note":
            empty = labels[:0]
            found = np.concatenate([empty, *(self.shards.note_labels(self.column.name, p) for p in pieces)])
        else:
            found = np.asarray(labels[np.asarray(pieces, np.int64)])
        if self.column.kind == "classes":
            return found[(found != NO_CLASS) & ~np.isin(found, self.ignore)]
        return found[~np.isnan(found).all(axis=1)]

    def _statistics(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Mean and deviation of the training values, and weights of the classes."""
        count = len(self.column.classes)
        centre, spread = torch.zeros(count), torch.ones(count)
        found = self.training_labels()
        if not len(found):
            return centre, spread, None
        if self.column.kind == "regression":
            deviation = np.nanstd(found, axis=0)
            centre = torch.from_numpy(np.nan_to_num(np.nanmean(found, axis=0))).float()
            usable = np.isfinite(deviation) & (deviation > 0)
            return centre, torch.from_numpy(np.where(usable, deviation, 1.0)).float(), None
        return centre, spread, self._class_weight(found)

    def _class_weight(self, found: np.ndarray) -> torch.Tensor | None:
        if self.cfg.class_weights == "none":
            return None
        power = 1.0 if self.cfg.class_weights == "balanced" else 0.5
        if self.column.kind == "multilabel":
            positive, known = np.nansum(found, axis=0), (~np.isnan(found)).sum(0)
            ratio = (known - positive) / np.maximum(positive, 1)
            return torch.from_numpy(np.where(positive > 0, ratio**power, 1.0)).float()
        counts = np.bincount(found.astype(np.int64), minlength=len(self.column.classes))
        share = counts.sum() / np.maximum(counts, 1) / max((counts > 0).sum(), 1)
        return torch.from_numpy(np.where(counts > 0, share**power, 0.0)).float()

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> TaggingDataset:
        """Cut the pieces of a part into windows.

        Raises
        ------
        DatasetError
            ``empty-split``; ``no-label`` where no window of a training part has a label.
        """
        del combine
        pieces, cfg = self.parts.get(split, []), self.cfg
        assert self.layout is not None, "the model is built before data are loaded"
        if not pieces:
            raise DatasetError(
                "empty-split",
                f"the part {split!r} holds no piece",
                path=cfg.split_file or self.shards.path,
                hint="give --split-file or --split",
            )
        training = split == "train"
        if training and not len(self.training_labels()):
            raise DatasetError("no-label", "no piece of the training part has a label", path=self.shards.path)
        windows = [
            window
            for piece in pieces
            for window in cut(
                piece,
                self.shards.rows(piece),
                self.shards.codec,
                window=cfg.window,
                overlap=cfg.overlap,
                choice=str(cfg.windows),  # type: ignore[arg-type]
            )
        ]
        dataset = TaggingDataset(
            self.shards,
            self.column,
            windows,
            self.layout,
            ignore=self.ignore,
            performance=bool(cfg.performance_input),
            augmentation=self.augmentation if training else None,
            random_shift=training and bool(cfg.random_shift),
            weights=self._weights() if training else None,
            shuffle=training,
            seed=cfg.seed,
        )
        logger.info("%s: %d pieces, %d windows", split, len(pieces), len(dataset))
        self.datasets[split] = dataset
        return dataset

    def _weights(self) -> np.ndarray | None:
        """Weight of each piece [shape=(n,)], 1 where it has none; None without such a label."""
        column = self.shards.labels.get(self.cfg.weight_label)
        if column is None or column.level != "sequence" or column.name == self.column.name:
            return None
        found = np.asarray(self.shards.label(column.name), np.float64).reshape(len(self.shards), -1)[:, 0]
        return np.where(np.isnan(found), 1.0, found)

    # -- model

    def settings(self) -> TagSettings:
        """Shape of the head."""
        cfg = self.cfg
        return TagSettings(
            outputs=len(self.column.classes),
            head="note" if self.level == "note" else str(cfg.tag_head),  # type: ignore[arg-type]
            inner=cfg.head_inner,
            dropout=cfg.head_dropout,
            attend_padding=cfg.attend_padding,
            layer=cfg.layer,
            mix_layers=cfg.mix_layers,
        )

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> TaggingModel:
        """Build the backbone and put the head on it.

        Raises
        ------
        DatasetError
            ``wrong-codec``; ``bad-augmentation``; ``wrong-optimiser``: learning rates by layer need
            ``layerwise_adamw`` in single precision.
        """
        decay, optimiser = self.cfg.layer_decay, self.cfg.optimizer_name
        if decay != 1 and (optimiser != "layerwise_adamw" or self.cfg.fp16 or self.cfg.bf16):
            raise DatasetError(
                "wrong-optimiser",
                f"--layer-decay {decay} has no effect with this optimiser or precision",
                hint="use --optimizer layerwise_adamw, and --autocast-bf16 in place of --bf16 or --fp16",
            )
        with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
            cfg.max_positions = self.cfg.max_positions
            cfg.performance_features = self.performance_features
        backbone = models.build_model(cfg, self, from_checkpoint)
        self.layout = Layout(self.shards.codec, cells=not isinstance(backbone, MusicBert))
        if self.augmentation is not None and self.layout.cells:
            raise DatasetError("bad-augmentation", "--augment is for MusicBERT on octuples only")
        model = TaggingModel(backbone, self.settings())
        model.centre.copy_(self.centre)
        model.spread.copy_(self.spread)
        freeze(model, self.cfg.freeze_layers)
        scale_rates(model, decay)
        return model

    def reduce_metrics(self, logging_outputs: Any, criterion: Any) -> None:
        """Log the criterion's metrics and the one to select by."""
        super().reduce_metrics(logging_outputs, criterion)
        log_score(self.column.kind, self.metric, self.column.classes)


@register_task("music_note_tagging", dataclass=TaggingConfig)
class NoteTaggingTask(_TaggingTask):
    """Labels of notes."""

    level = "note"


@register_task("music_sequence_tagging", dataclass=TaggingConfig)
class SequenceTaggingTask(_TaggingTask):
    """Labels of pieces."""

    level = "sequence"
