"""`LabelTask`: what the tasks with labels of notes or pieces share, from the data set to the heads."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np
from fairseq import models
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask
from numpy.typing import NDArray
from omegaconf import II, MISSING

from musicbert.annotation.folds import PARTS
from musicbert.atomic import read_json
from musicbert.corpus.labelled import LabelColumn, LabelledSet
from musicbert.encoding.views import View
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.task import OneDictionary, change, flag, octuple_dictionary
from musicbert.fairseq_plugin.labels.dataset import LabelDataset, PieceLayout, WholePieces
from musicbert.fairseq_plugin.labels.note_augmentation import NoteAugmentation
from musicbert.fairseq_plugin.labels.terms import Term

logger = logging.getLogger(__name__)

_SHORTEN = ChoiceEnum(["none", "truncate", "random_crop"])
AUGMENT_HELP = "change training notes: transpose=5,velocity=1,stretch=0.1,phase=8,bar,drop=0.1"


@dataclass
class PieceConfig(FairseqDataclass):
    """Options of the tasks over whole pieces of a data-bin; the names are those of the published scripts."""

    data: str = flag(MISSING, "folder of one fold of a data-bin")
    # fairseq reads no unions written with |
    init_token: Optional[int] = flag(None, "accepted for old scripts, no effect")  # noqa: UP045
    separator_token: Optional[int] = flag(None, "accepted for old scripts, no effect")  # noqa: UP045
    no_shuffle: bool = flag(False, "keep the same batches in every epoch (their order is still drawn)")
    shorten_method: _SHORTEN = flag("none", "what to do with pieces longer than --max-positions")  # type: ignore[valid-type]  # noqa: RUF009
    max_positions: int = flag(8192, "longest piece in tokens")
    seed: int = II("common.seed")


def read_split(path: str | Path, data: LabelledSet) -> dict[str, list[int]]:
    """Read the parts of a split: numbers of pieces.

    Raises `DatasetError` (``bad-split``: not JSON of this form, an unknown piece, or a piece in two parts).
    """
    try:
        names = read_json(path)
        parts = {part: [data.index[name] for name in names.get(part, [])] for part in PARTS}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError("bad-split", f"Not a split file: {error}", path=path) from error
    except KeyError as error:
        raise DatasetError("bad-split", f"The data set has no piece {error}", path=path) from error
    every = [piece for part in parts.values() for piece in part]
    if len(set(every)) < len(every):
        raise DatasetError("bad-split", "A piece is in two parts, or twice in one", path=path)
    return parts


class LabelTask(OneDictionary, FairseqTask):
    """Learn labels of a labelled set; ``terms`` say what is learned, by which head."""

    dataset_class: type[LabelDataset] = LabelDataset
    #: form of the music that the model reads
    view: View = "octuple"
    #: changes of training notes
    augmentation: NoteAugmentation | None = None
    #: do as the published code does
    compat = False
    #: predictions hold the vectors that the heads read
    keep_embeddings = False
    #: how to get a part with pieces
    choose_parts = "make the data with a larger share of this part, or train with --disable-validation"
    #: classes that count as missing
    ignore: tuple[int, ...] = ()
    #: places of the bar line over which predictions are averaged
    phases = 1
    #: more labels to read than those that are learned
    more_labels: tuple[str, ...] = ()

    def __init__(self, cfg: Any, data: LabelledSet, terms: Sequence[Term]) -> None:
        super().__init__(cfg)
        self.data, self.terms = data, tuple(terms)
        self.dictionary = octuple_dictionary()
        self.performance_features = 0
        if getattr(cfg, "performance_input", False):
            self.performance_features = data.performance_width
            if not self.performance_features:
                message = "The data set holds no performance inputs"
                hint = "make the data with performance inputs, or leave --performance-input out"
                raise DatasetError("no-performance", message, path=data.path, hint=hint)
        for term in self.terms:
            classes = data.column(term.label).classes
            logger.info("%s (%s): %d outputs, %s", term.label, term.kind, len(classes), ", ".join(classes))

    def max_positions(self) -> int:
        """Longest window in tokens (of taggers: in rows)."""
        return self.cfg.max_positions

    def pieces(self, part: str) -> Sequence[int]:
        """Numbers of the pieces of a part (``train``, ``valid``, ``test``)."""
        return self.data.part(part)  # type: ignore[attr-defined] - of a data-bin

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> LabelDataset:
        """Open a part.

        Raises `DatasetError`: those of `pieces` and of the labelled set; ``empty-split`` (of sentences
        ``no-pieces``); ``too-long`` where a piece is longer than ``--max-positions`` and must not be
        shortened.
        """
        del combine
        pieces = self.pieces(split)
        if not pieces:
            raise DatasetError(
                getattr(self.data, "EMPTY", "empty-split"),
                f"The part {split!r} holds no piece",
                path=getattr(self.cfg, "split_file", None) or self.data.path,
                hint=self.choose_parts,
            )
        if self.performance_features:
            self.data.performance(pieces[0])  # checks the files
        dataset = self.make_dataset(pieces, training=split == "train")
        logger.info("%s: %d pieces, %d windows", split, len(pieces), len(dataset))
        self.datasets[split] = dataset
        return dataset

    def make_dataset(self, pieces: Sequence[int], *, training: bool) -> LabelDataset:
        """Return the data set of whole pieces."""
        cfg = self.cfg
        shorten = "none" if self.compat else str(cfg.shorten_method)
        layout = PieceLayout(self.view, shorten=shorten, max_tokens=cfg.max_positions)
        dataset = self.new_dataset(
            WholePieces(self.data, pieces), layout, training, shuffle=training and not cfg.no_shuffle
        )
        longest = int(dataset.sizes.max())
        if longest > cfg.max_positions and not self.compat:  # fairseq would leave it out in silence
            message = f"A piece has {longest} tokens, more than {cfg.max_positions}"
            hint = "give --shorten-method truncate, or a larger --max-positions"
            raise DatasetError("too-long", message, path=self.data.path, hint=hint)
        return dataset

    def weights(self, training: bool) -> NDArray[np.float64] | None:
        """Weight of each piece of the set in the loss [shape=(n,)]; None: all alike."""
        del training
        return None

    def new_dataset(self, windows: Any, layout: Any, training: bool, **more: Any) -> LabelDataset:
        """Return a data set with the task's labels and options."""
        return self.dataset_class(
            self.data,
            list(dict.fromkeys([*(term.label for term in self.terms), *self.more_labels])),
            windows,
            layout,
            ignore=self.ignore,
            performance=self.performance_features > 0,
            augmentation=self.augmentation if training else None,
            weights=self.weights(training),
            seed=self.cfg.seed,
            **more,
        )

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model that ``--arch`` names, with the heads of the terms."""
        change(cfg, max_positions=self.cfg.max_positions, performance_features=self.performance_features)
        if self.view == "remi":
            change(cfg, no_compound=True)
        return self.add_heads(models.build_model(cfg, self, from_checkpoint))

    def add_heads(self, model: Any) -> Any:
        """Give a model the heads of the terms."""
        for term in self.terms:
            register = getattr(model, f"register_{term.family}_head")
            register(term.head, self.outputs(term))
        return model

    def outputs(self, term: Term) -> int:
        """Number of outputs of a head."""
        return len(self.data.column(term.label).classes)

    def state_dict(self) -> dict[str, Any]:
        """What checkpoints hold of the task: what the outputs of each head mean."""
        return {**super().state_dict(), "outputs": self.described_outputs}

    @cached_property
    def described_outputs(self) -> list[dict[str, Any]]:
        """Names, poles, scale and training range of each term (`musicbert.weights.Head`)."""
        return [self._describe(term) for term in self.terms]

    def _describe(self, term: Term) -> dict[str, Any]:
        column, count = self.data.column(term.label), self.outputs(term)
        known = len(column.classes)
        names = [*column.classes, *(f"unused-{number}" for number in range(known, count))]
        activations = {"classes": "softmax", "multilabel": "sigmoid", "regression": term.activation}
        entry = {"name": term.head or term.label, "kind": term.family, "outputs": count, "names": names}
        entry |= {"activation": activations[column.kind], "task": column.kind, "level": column.level}
        if count == known:
            entry |= {"poles": [[*pair] for pair in column.poles], "scale": [*column.bounds]}
            entry["ranges"] = self._ranges(column) if column.kind == "regression" else []
        return entry

    def _ranges(self, column: LabelColumn) -> list[list[float] | None]:
        """Least and greatest training label of each output; None where there is none."""
        values, pieces = self.data.label(column.name), self.pieces("train")
        if column.level == "note":
            values = np.concatenate([values[:0], *(self.data.note_labels(column.name, k) for k in pieces)])
        else:
            values = values[np.asarray(pieces, np.int64)]
        known = (one[~np.isnan(one)] for one in np.asarray(values, np.float64).T)
        return [[float(one.min()), float(one.max())] if len(one) else None for one in known]
