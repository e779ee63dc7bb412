"""The fairseq tasks ``music_note_tagging`` and ``music_sequence_tagging``: labels of notes, or of pieces.

They read a `LabelledSet`, cut the pieces of a split into windows, and put a head on the backbone that
``--arch`` names. The criterion is ``music_tagging``. Parts come from a file of names (``--split-file``:
``{"train": [...], "valid": [...], "test": [...]}``) or from a split of the data set (``--split``).
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from numpy.typing import NDArray
from omegaconf import II, MISSING

from musicbert.annotation.folds import PARTS
from musicbert.corpus.labelled import LabelColumn, LabelledSet, open_labelled
from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.task import flag
from musicbert.fairseq_plugin.labels.criterion import log_mean_score, log_score
from musicbert.fairseq_plugin.labels.dataset import LabelDataset
from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation
from musicbert.fairseq_plugin.labels.sums import METRICS
from musicbert.fairseq_plugin.labels.task import AUGMENT_HELP, LabelTask, read_split
from musicbert.fairseq_plugin.labels.terms import Term
from musicbert.model import MusicBert
from musicbert.model.tagger import Tagger, TagSettings, freeze, scale_rates
from musicbert.predict.windows import Layout, Window, cut

logger = logging.getLogger(__name__)

#: where several labels are learned together, a window is read so often in an epoch at most
REPEATS = 4
_HEADS = ChoiceEnum(["note", "first", "mean", "mean+sd", "attention"])
_WINDOWS = ChoiceEnum(["all", "first"])
_WEIGHTS = ChoiceEnum(["none", "balanced", "sqrt"])


@dataclass
class TaggingConfig(FairseqDataclass):
    """Options of the tasks."""

    data: str = flag(MISSING, "folder of shards, or of one fold of a data-bin")
    label: str = flag("", "label to learn, or several joined with commas; the first one of the data if empty")
    split_file: Optional[str] = flag(None, "JSON with the names of the pieces of each part")  # noqa: UP045
    split: Optional[str] = flag(None, "split that the pieces came with, of train, valid and test")  # noqa: UP045
    ignore_classes: str = flag("", "numbers of classes that count as missing, joined with commas")
    metric: str = flag(
        "", "metric to select by, or f1:CLASS; logged as `score`. Of several labels one each, with commas"
    )
    class_weights: _WEIGHTS = flag("none", "weight of classes in the loss, by their frequency")  # type: ignore[valid-type]  # noqa: RUF009
    weight_label: str = flag("weight", "label that weighs the pieces in the loss, where there is one")
    window: int = flag(1000, "notes of a window")
    overlap: int = flag(0, "notes that neighbouring windows share")
    windows: _WINDOWS = flag("all", "windows of a piece that are read")  # type: ignore[valid-type]  # noqa: RUF009
    random_shift: bool = flag(False, "move the windows of training at random in every epoch")
    augment: str = flag("", AUGMENT_HELP)
    performance_input: bool = flag(False, "read continuous performance inputs (pedal, timing)")
    tag_head: _HEADS = flag("first", "head of a sequence task (a note task has its own)")  # type: ignore[valid-type]  # noqa: RUF009
    head_inner: int = flag(0, "width between two layers of the head; 0: see musicbert.model.tagger")
    head_dropout: float = flag(0.1, "dropout in the head")
    attend_padding: bool = flag(False, "the attention head attends to padding too, as published")
    layer: int = flag(-1, "state that the head reads; 0 is before the first block, -1 the last")
    mix_layers: bool = flag(False, "the head reads a learned mixture of all states")
    freeze_layers: int = flag(0, "keep the embeddings and the first N blocks as they are")
    layer_decay: float = flag(
        1.0, "learning rate of a block over that of the next one (--optimizer layerwise_adamw)"
    )
    max_positions: int = flag(8192, "rows of the table of positions (MusicBERT)")
    seed: int = II("common.seed")
    optimizer_name: str = II("optimizer._name")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")


class TaggingModel(Tagger, BaseFairseqModel):
    """The backbone that ``--arch`` names, with a tagging head (`musicbert.model.tagger.Tagger`)."""

    def forward(self, src_tokens: torch.Tensor, performance: torch.Tensor | None = None) -> torch.Tensor:
        """Label notes or windows; raises the `CheckpointError` of `Backbone.refuse_without_weights`."""
        self.backbone.refuse_without_weights()  # type: ignore[operator]
        return super().forward(src_tokens, performance)

    def load_state_dict(
        self, state_dict: Mapping[str, torch.Tensor], strict: bool = True, **more: Any
    ) -> Any:
        """Load a checkpoint of this model, or of its backbone alone (``--finetune-from-model``)."""
        if not any(name.startswith("backbone.") for name in state_dict):
            logger.info("the checkpoint is one of a backbone: the head starts anew")
            return self.backbone.load_state_dict(state_dict, strict, **more)  # type: ignore[call-arg]
        self.backbone.weights_expected = None  # type: ignore[assignment]
        return super().load_state_dict(state_dict, strict, **more)

    def max_positions(self) -> int:
        """Longest window in rows."""
        return int(self.backbone.max_positions())  # type: ignore[operator]


def _terms(columns: Sequence[LabelColumn], cfg: TaggingConfig, data: LabelledSet) -> list[Term]:
    """One term, or one for each of several labels, each with its outputs of the only head."""
    if len(columns) == 1:
        return [Term(columns[0].name, columns[0].kind)]
    if {(c.kind, c.level) for c in columns} != {("classes", "note")} or str(cfg.class_weights) != "none":
        message = "Several labels are learned together only if all are classes of notes, without weights"
        hint = "give one --label, or leave --class-weights out"
        raise DatasetError("several-labels", message, path=data.path, hint=hint)
    ends = np.cumsum([0, *(len(column.classes) for column in columns)]).tolist()
    return [
        Term(column.name, column.kind, columns=(begin, end))
        for column, begin, end in zip(columns, ends[:-1], ends[1:], strict=True)
    ]


class TaggingTask(LabelTask):
    """What both tasks share."""

    level = ""
    choose_parts = "give --split-file or --split"

    def __init__(self, cfg: TaggingConfig, data: LabelledSet) -> None:
        first = next((name for name in data.labels if name != cfg.weight_label), "")
        names = cfg.label.split(",") if cfg.label else [first]
        self.columns = [data.column(name) for name in names]
        self.column = self.columns[0]
        super().__init__(cfg, data, _terms(self.columns, cfg, data))
        for column in self.columns:
            if column.level != self.level:
                message = f"The label {column.name!r} is one of each {column.level}"
                hint = f"use --task music_{column.level}_tagging"
                raise DatasetError("wrong-level", message, path=data.path, hint=hint)
        self.ignore = tuple(int(number) for number in cfg.ignore_classes.split(",") if number.strip())
        #: metric of each label
        self.metrics = cfg.metric.split(",") if cfg.metric else [METRICS[c.kind][0] for c in self.columns]
        if len(self.metrics) != len(self.columns):
            message = f"{len(self.metrics)} metrics for {len(self.columns)} labels"
            raise DatasetError("unknown-metric", message, hint="give one a label, with commas")
        for metric, column in zip(self.metrics, self.columns, strict=True):
            kind, classes = column.kind, column.classes
            known = [*METRICS[kind], *(f"f1:{name}" for name in classes if kind == "classes")]
            if metric not in known:
                raise DatasetError(
                    "unknown-metric", f"There is no metric {metric!r} for {kind}, only {', '.join(known)}"
                )
        #: how rows become tokens; the backbone decides
        self.layout: Layout | None = None
        self.augmentation = parse_augmentation(cfg.augment)
        self.parts = self._parts()
        self.centre, self.spread, self.class_weight = self._statistics()

    @classmethod
    def setup_task(cls, cfg: TaggingConfig, **_: Any) -> "TaggingTask":
        """Open the data and the split.

        Raises `DatasetError`: those of `open_labelled`, `read_split` and `LabelTask`, ``unknown-label``,
        ``wrong-level``, ``unknown-metric``, ``bad-augmentation``.
        """
        return cls(cfg, open_labelled(cfg.data))

    # -- data

    def _parts(self) -> dict[str, list[int]]:
        if self.cfg.split_file:
            return read_split(self.cfg.split_file, self.data)
        if self.cfg.split:
            split = self.data.split(self.cfg.split)
            return {part: [self.data.index[n] for n, p in split.items() if p == part] for part in PARTS}
        return {part: list(range(len(self.data))) if part == "test" else [] for part in PARTS}

    def pieces(self, part: str) -> Sequence[int]:
        """Numbers of the pieces of a part; none if there is no such part."""
        return self.parts.get(part, [])

    def training_labels(self, column: LabelColumn | None = None) -> NDArray[Any]:
        """Labels of the training part, missing and ignored ones left out [shape=(M,) or (M, C)].

        Of the first label, or of that in ``column``.
        """
        column = column or self.column
        values, pieces = self.data.label(column.name), self.parts["train"]
        if column.level == "note":
            of_pieces = (self.data.note_labels(column.name, piece) for piece in pieces)
            labels = np.concatenate([values[:0], *of_pieces])
        else:
            labels = np.asarray(values[np.asarray(pieces, np.int64)])
        if column.kind == "classes":
            return labels[(labels != NO_CLASS) & ~np.isin(labels, self.ignore)]
        return labels[~np.isnan(labels).all(axis=1)]

    def _statistics(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Mean and deviation of the training values, and weights of the classes."""
        count = sum(len(column.classes) for column in self.columns)
        centre, spread = torch.zeros(count), torch.ones(count)
        labels = self.training_labels()
        if not len(labels):
            return centre, spread, None
        if self.column.kind == "regression":
            deviation = np.nanstd(labels, axis=0)
            centre = torch.from_numpy(np.nan_to_num(np.nanmean(labels, axis=0))).float()
            usable = np.isfinite(deviation) & (deviation > 0)
            return centre, torch.from_numpy(np.where(usable, deviation, 1.0)).float(), None
        return centre, spread, self._class_weight(labels)

    def _class_weight(self, labels: NDArray[Any]) -> torch.Tensor | None:
        if self.cfg.class_weights == "none":
            return None
        power = 1.0 if self.cfg.class_weights == "balanced" else 0.5
        if self.column.kind == "multilabel":
            positive, known = np.nansum(labels, axis=0), (~np.isnan(labels)).sum(0)
            ratio = (known - positive) / np.maximum(positive, 1)
            return torch.from_numpy(np.where(positive > 0, ratio**power, 1.0)).float()
        counts = np.bincount(labels.astype(np.int64), minlength=len(self.column.classes))
        share = counts.sum() / np.maximum(counts, 1) / max((counts > 0).sum(), 1)
        return torch.from_numpy(np.where(counts > 0, share**power, 0.0)).float()

    def make_dataset(self, pieces: Sequence[int], *, training: bool) -> LabelDataset:
        """Cut the pieces of a part into windows.

        Raises `DatasetError` (``no-label`` where no window of a training part has a label).
        """
        cfg = self.cfg
        assert self.layout is not None, "the model is built before data are loaded"
        for column in self.columns if training else ():
            if not len(self.training_labels(column)):
                message = f"No piece of the training part has a label {column.name}"
                raise DatasetError("no-label", message, path=self.data.path)
        size = {"window": cfg.window, "overlap": cfg.overlap, "choice": str(cfg.windows)}
        windows = [
            window
            for piece in pieces
            for window in cut(piece, self.data.rows(piece), self.data.codec, **size)
        ]
        if training and len(self.columns) > 1:
            windows = self._balanced(windows)
        return self.new_dataset(
            windows,
            self.layout,
            training,
            random_shift=training and bool(cfg.random_shift),
            shuffle=training,
        )

    def _balanced(self, windows: Sequence[Window]) -> list[Window]:
        """Repeat windows of pieces whose set of labels is rare: by the root of how much rarer (`REPEATS`)."""
        known: dict[int, tuple[bool, ...]] = {}
        for piece in {window.piece for window in windows}:
            labels = (self.data.note_labels(column.name, piece) for column in self.columns)
            known[piece] = tuple(bool((values != NO_CLASS).any()) for values in labels)
        counts = Counter(known[window.piece] for window in windows)
        most = max(counts.values())
        times = {labels: min(round((most / count) ** 0.5), REPEATS) for labels, count in counts.items()}
        return [window for window in windows for _ in range(times[known[window.piece]])]

    def weights(self, training: bool) -> NDArray[np.float64] | None:
        """Weight of each piece, 1 where it has none; None without such a label."""
        if not training:
            return None
        column = self.data.labels.get(self.cfg.weight_label)
        if column is None or column.level != "sequence" or column.name == self.column.name:
            return None
        weights = np.asarray(self.data.label(column.name), np.float64).reshape(len(self.data), -1)[:, 0]
        return np.where(np.isnan(weights), 1.0, weights)

    # -- model

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> TaggingModel:
        """Build the backbone and put the head on it.

        Raises `DatasetError`: ``wrong-codec``; ``bad-augmentation``; ``wrong-optimiser``: learning rates by
        layer need ``layerwise_adamw`` in single precision.
        """
        decay, optimiser = self.cfg.layer_decay, self.cfg.optimizer_name
        if decay != 1 and (optimiser != "layerwise_adamw" or self.cfg.fp16 or self.cfg.bf16):
            message = f"--layer-decay {decay} has no effect with this optimiser or precision"
            hint = "use --optimizer layerwise_adamw, and --autocast-bf16 in place of --bf16 or --fp16"
            raise DatasetError("wrong-optimiser", message, hint=hint)
        return super().build_model(cfg, from_checkpoint)

    def add_heads(self, model: Any) -> TaggingModel:
        """Put the head on a backbone."""
        self.layout = Layout(self.data.codec, cells=not isinstance(model, MusicBert))
        if self.augmentation is not None and self.layout.cells:
            raise DatasetError("bad-augmentation", "--augment is for MusicBERT on octuples only")
        settings = TagSettings(
            outputs=sum(len(column.classes) for column in self.columns),
            head="note" if self.level == "note" else str(self.cfg.tag_head),  # type: ignore[arg-type]
            inner=self.cfg.head_inner,
            dropout=self.cfg.head_dropout,
            attend_padding=self.cfg.attend_padding,
            layer=self.cfg.layer,
            mix_layers=self.cfg.mix_layers,
        )
        tagger = TaggingModel(model, settings)
        tagger.centre.copy_(self.centre)
        tagger.spread.copy_(self.spread)
        freeze(tagger, self.cfg.freeze_layers)
        scale_rates(tagger, self.cfg.layer_decay)
        return tagger

    def reduce_metrics(self, logging_outputs: Any, criterion: Any) -> None:
        """Log the criterion's metrics and the one to select by."""
        super().reduce_metrics(logging_outputs, criterion)
        if len(self.columns) == 1:
            log_score(self.column.kind, self.metrics[0], self.column.classes)
        else:
            chosen = zip(self.columns, self.metrics, strict=True)
            log_mean_score(logging_outputs, {c.name: (metric, c.classes) for c, metric in chosen})


@register_task("music_note_tagging", dataclass=TaggingConfig)
class NoteTaggingTask(TaggingTask):
    """Labels of notes."""

    level = "note"


@register_task("music_sequence_tagging", dataclass=TaggingConfig)
class SequenceTaggingTask(TaggingTask):
    """Labels of pieces."""

    level = "sequence"
