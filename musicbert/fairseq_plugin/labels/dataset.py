"""The data set of labels: windows of labelled pieces, read when they are needed.

A window is a whole piece (ratings, sentence tasks), shortened to ``--max-positions`` on request, or one of
the windows that a piece is cut into (taggers).

Legend: ``B`` windows, ``T`` rows of the longest (special ones included), ``F`` fields, ``C`` outputs, ``P``
performance inputs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.corpus.labelled import LabelColumn, LabelledSet
from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.encoding.clock import in_phase
from musicbert.encoding.sequence_views import latest_begin, position_width, sequence_in_view, sizes_in_view
from musicbert.encoding.views import View
from musicbert.encoding.vocabulary import BOS, EOS, FIELD_OFFSETS, FIELD_SIZES, PAD
from musicbert.fairseq_plugin.data.sized_dataset import SizedDataset
from musicbert.fairseq_plugin.labels.note_augmentation import NoteAugmentation
from musicbert.predict.windows import Layout, Window

#: octuples of a sequence that are no notes
_ENDS = 2


class PieceLayout(Layout):
    """How whole pieces of a data-bin become tokens, with their bars unchanged.

    ``view``: ``octuple``, or a form of the ablation (`musicbert.encoding.views`); ``shorten``: ``truncate``
    or ``random_crop`` pieces longer than ``max_tokens`` (both ends included) by whole positions, or ``none``.
    """

    def __init__(self, view: View = "octuple", *, shorten: str = "none", max_tokens: int = 8192) -> None:
        super().__init__("octuple", cells=False)
        self.view, self.shorten = view, shorten
        self.fields = position_width(view)
        self._pad = torch.tensor([PAD] * self.fields)
        #: positions that stay, the ends not counted; None: all
        self.limit = max_tokens // self.fields - _ENDS if shorten != "none" else None

    def sizes(self, data: LabelledSet, pieces: Sequence[int]) -> NDArray[np.int64]:
        """Tokens of each piece before it is shortened [shape=(n,)]."""
        octuples = len(FIELD_OFFSETS) * (data.lengths[np.asarray(pieces, np.int64)] + _ENDS)

        def read(begin: int, end: int) -> NDArray[np.int64]:
            return np.concatenate([_tokens(data.rows(piece)).reshape(-1) for piece in pieces[begin:end]])

        return sizes_in_view(read, octuples, self.view)

    def tokens(self, rows: NDArray[np.int64], first_bar: int = 0) -> torch.Tensor:
        """Tokens of rows, shortened [shape=(T, F), int64]."""
        del first_bar
        cells = sequence_in_view(_tokens(rows), self.view, longest=self.limit)
        return torch.from_numpy(cells).view(-1, self.fields)

    def latest_begin(self, rows: NDArray[np.int64]) -> int:
        """Last row that a shortened piece can begin with."""
        assert self.limit is not None
        if self.view == "octuple":
            return len(rows) - self.limit
        return latest_begin(_tokens(rows), self.view, self.limit)


def _tokens(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids of rows between the two ends [shape=(n + 2, 8)]; separators between phrases are kept."""
    width = len(FIELD_OFFSETS)
    ids = rows + np.array(FIELD_OFFSETS, np.int64)
    return np.concatenate([np.full((1, width), BOS), ids, np.full((1, width), EOS)])


class WholePieces(Sequence[Window]):
    """One window for each of these pieces of a set: all of it."""

    def __init__(self, data: LabelledSet, pieces: Sequence[int]) -> None:
        self.lengths, self.pieces = data.lengths, pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: Any) -> Any:
        piece = self.pieces[index]
        length = int(self.lengths[piece])
        return Window(piece, 0, length, 0, np.broadcast_to(1.0, length))


class LabelDataset(SizedDataset):
    """Windows of one part of a split.

    ``labels``: names of the labels to read; ``layout``: how rows become tokens, `PieceLayout` for whole
    pieces; ``ignore``: classes that count as missing; ``performance``: read performance inputs;
    ``augmentation``: changes of the notes (OctupleMIDI); ``random_shift``: move each window by up to half its
    length, within its piece; ``weights``: weight of each piece in the loss [shape=(pieces of the set,)], or
    None. Everything random is drawn by seed, epoch and number of the window.
    """

    def __init__(
        self,
        data: LabelledSet,
        labels: Sequence[str],
        windows: Sequence[Window],
        layout: Layout,
        *,
        ignore: Sequence[int] = (),
        performance: bool = False,
        augmentation: NoteAugmentation | None = None,
        random_shift: bool = False,
        weights: NDArray[np.floating] | None = None,
        shuffle: bool = False,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.data = data
        self.columns: tuple[LabelColumn, ...] = tuple(data.column(name) for name in labels)
        self.values = {name: data.label(name) for name in labels}
        self.windows = windows
        self.layout = layout
        self.ignore = np.asarray(list(ignore), np.int64)
        self.performance = performance
        self.augmentation = augmentation
        self.random_shift = random_shift
        self.weights = weights
        self.shuffle, self.seed = shuffle, seed
        #: place of the bar line, of so many (`musicbert.encoding.clock.in_phase`)
        self.phase = (0, 1)
        if isinstance(layout, PieceLayout):
            self.unit = layout.fields
            assert isinstance(windows, WholePieces)
            self.full_sizes = layout.sizes(data, windows.pieces)
            longest = self.full_sizes if layout.limit is None else (layout.limit + _ENDS) * self.unit
            self.sizes = np.minimum(self.full_sizes, longest)
        else:
            self.unit = 1  # lengths are rows
            self.full_sizes = self.sizes = np.array(
                [len(window) + layout.special for window in windows], np.int64
            )

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False where anything is random: batches and worker processes are then made anew in each epoch."""
        crops = getattr(self.layout, "shorten", None) == "random_crop"
        return not (self.shuffle or self.augmentation is not None or self.random_shift or crops)

    def __getitem__(self, index: int) -> dict[str, Any]:
        window = self.windows[index]
        rng = np.random.default_rng((self.seed, self.epoch, index, 0))
        start, stop, first_bar = self._span(index, window, rng)
        rows = self.data.rows(window.piece, start, stop)
        rows = in_phase(rows, *self.phase)
        performance = self.data.performance(window.piece, start, stop) if self.performance else None
        targets = {column.name: self._target(column, window.piece, start, stop) for column in self.columns}
        if self.augmentation is not None:
            if not isinstance(self.layout, PieceLayout):
                rng = np.random.default_rng((self.seed, self.epoch, index, 1))
            rows[:, 0] = np.clip(rows[:, 0] - first_bar, 0, FIELD_SIZES[0] - 1)
            rows, performance, origin = self.augmentation(rows, performance, rng)
            first_bar = 0
            for column in self.columns:
                if column.level == "note":
                    targets[column.name] = targets[column.name][origin]
        item = {
            "id": index,
            "source": self.layout.tokens(rows, first_bar),  # (T, F)
            "targets": {name: torch.from_numpy(values) for name, values in targets.items()},
        }
        if performance is not None:
            item["performance"] = torch.from_numpy(np.ascontiguousarray(performance))
        return item

    def _span(self, index: int, window: Window, rng: np.random.Generator) -> tuple[int, int, int]:
        """Rows to read, and the bar that is bar 0 of them."""
        start, stop, first_bar = window.start, window.stop, window.first_bar
        if self.sizes[index] < self.full_sizes[index]:
            layout = self.layout
            assert isinstance(layout, PieceLayout)
            assert layout.limit is not None
            if layout.shorten == "random_crop":
                start = int(rng.integers(layout.latest_begin(self.data.rows(window.piece)) + 1))
            if layout.view == "octuple":
                stop = start + layout.limit
        length = int(self.data.lengths[window.piece])
        if self.random_shift and len(window) < length:
            half = len(window) // 2
            shift = int(rng.integers(-half, half, endpoint=True))
            start = int(np.clip(start + shift, 0, length - len(window)))
            stop = start + len(window)
            if start != window.start:
                first_bar = int(self.data.rows(window.piece, start, start + 1)[0, 0])
        return start, stop, first_bar

    def _target(self, column: LabelColumn, piece: int, start: int, stop: int) -> NDArray[Any]:
        """Label of a window, with ignored classes missing."""
        values = self.values[column.name]
        values = np.array(
            values[self.data.row_slice(piece, start, stop) if column.level == "note" else piece]
        )
        if column.kind != "classes":
            return values.astype(np.float32)
        values = values.astype(np.int64)
        return np.where(np.isin(values, self.ignore), NO_CLASS, values) if len(self.ignore) else values

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch, padded to its longest window.

        Keys: ``id`` [shape=(B,)], ``nsentences``, ``ntokens``, ``weight`` [shape=(B,)], ``targets`` by label,
        ``target`` (the first of these), and ``net_input`` with ``src_tokens``
        (`musicbert.predict.windows.Layout.collate`) and ``performance`` [shape=(B, T, P)]. Targets of notes
        are aligned with the rows of tokens, -1 (NaN) at special rows and padding: [shape=(B, T)] or
        [shape=(B, T, C)]; of pieces [shape=(B,)] or [shape=(B, C)].
        """
        if not samples:
            return {}
        sources = [item["source"] for item in samples]
        longest = max(map(len, sources))
        net_input = {"src_tokens": self.layout.collate(sources)}
        if self.performance:
            net_input["performance"] = self._align([item["performance"] for item in samples], longest, 0.0)
        targets = {}
        for column in self.columns:
            values = [item["targets"][column.name] for item in samples]
            missing = NO_CLASS if column.kind == "classes" else float("nan")
            note_level = column.level == "note"
            targets[column.name] = (
                self._align(values, longest, missing) if note_level else torch.stack(values)
            )
        batch = {
            "id": torch.tensor([item["id"] for item in samples]),
            "nsentences": len(samples),
            "ntokens": self.unit * sum(map(len, sources)),
            "net_input": net_input,
            "targets": targets,
            "target": targets[self.columns[0].name],
        }
        if self.weights is not None:
            pieces = [self.windows[item["id"]].piece for item in samples]
            batch["weight"] = torch.from_numpy(self.weights[pieces].astype(np.float32))  # (B,)
        return batch

    def _align(self, values: Sequence[torch.Tensor], longest: int, missing: float) -> torch.Tensor:
        """Values of notes, each in the row of its token [shape=(B, T, ...)]."""
        shape = (len(values), longest, *values[0].shape[1:])
        table = torch.full(shape, missing, dtype=values[0].dtype)
        for row, notes in zip(table, values, strict=True):
            row[self.layout.lead : self.layout.lead + len(notes)] = notes
        return table
