"""Labels of sequences (``next``, ``acc``, genre, style): `SentenceBin`, one fold of a sentence data-bin.

``FOLD/label/`` holds, beside what `musicbert.corpus.labelled.token_bin` names, the labels of each part as
fairseq-preprocess writes them (``dict.txt``, ``<part>.{bin,idx}``) and as text (``<part>.label``), and for
pairs of phrases ``<part>.group`` (number of the query) and ``<part>.first`` (where the second phrase begins).
Written by `musicbert.corpus.labelled.binarize`; read here without fairseq.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Ints, Singles
from musicbert.corpus.bins.databin import SPECIALS, class_names, read_dictionary, read_index, read_tokens
from musicbert.corpus.labelled.contract import LabelColumn
from musicbert.corpus.labelled.pieces import Kind
from musicbert.corpus.labelled.token_bin import SPLIT, TokenBin

logger = logging.getLogger(__name__)


class SentenceBin(TokenBin):
    """One fold of a sentence data-bin (see `TokenBin`), with the label ``label``.

    The group of a piece is its query where the data have queries, else its identifier, else its name.

    ``kind``: how the labels are read; if None, ``regression`` where ``outputs`` is given, ``classes`` where
    every piece has exactly one label, else ``multilabel``; ``outputs``: numbers of a piece (regression), or
    outputs of a model with more classes than the dictionary names: the others are named ``unused-<number>``.
    Raises `DatasetError`: those of `TokenBin` (``not-found`` for a missing part, ``no-pieces`` for an empty
    one, ``wrong-tokens`` for other tokens); ``wrong-length``; ``wrong-label`` where there is not one known
    class a piece, or not ``outputs`` numbers; ``class-count-mismatch`` for fewer outputs than classes.
    """

    MISSING, EMPTY, WRONG_TOKENS = "not-found", "no-pieces", "wrong-tokens"
    CHECK_NOTES = False  # these sets are large
    BINARISE = "binarise the data again (scripts/binarize_nsp.sh, scripts/binarize_genre.sh)"

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        parts: Sequence[str] | None = None,
        kind: Kind | None = None,
        outputs: int | None = None,
    ) -> None:
        super().__init__(path, parts=parts)
        dictionary = self.path / "label" / "dict.txt"
        if not dictionary.is_file():
            raise self._error("not-found", "There is no label/dict.txt", dictionary)
        #: names of the classes, in the order of a model's outputs
        self.classes = class_names(read_dictionary(dictionary))
        read = [self._read_labels(part) for part in self.parts]
        #: classes of each piece [shape=(n, C), bool]
        self.hot = np.concatenate([hot for hot, _ in read])
        counts = np.concatenate([counts for _, counts in read])
        single = (counts == 1) & self.hot.any(1)
        if kind is None:
            kind = "regression" if outputs else "classes" if single.all() else "multilabel"
        names = tuple(self.classes)
        if kind == "regression":
            if not outputs:
                raise ValueError("regression needs the number of outputs")
            names = tuple(map(str, range(outputs)))
            self._values: NDArray[Any] = np.concatenate([self._numbers(part, outputs) for part in self.parts])
        else:
            outputs = outputs or len(names)
            if outputs < len(names):
                message = f"{outputs} outputs, but the dictionary of the labels has {len(names)} classes"
                raise self._error("class-count-mismatch", message, dictionary)
            names += tuple(f"unused-{number}" for number in range(len(names), outputs))
            if kind == "classes":
                if not single.all():
                    piece = int(single.argmin())
                    part = self.parts[self._part_of(piece)]
                    message = f"Sequence {piece - self.part(part).start} of {part} has no single known label"
                    raise self._error("wrong-label", message, self.path / "label")
                self._values = self.hot.argmax(1).astype(np.int32)
            else:
                self._values = np.zeros((len(self), outputs), np.float32)
                self._values[:, : self.hot.shape[1]] = self.hot
        self.labels = {"label": LabelColumn("label", "sequence", kind, names)}
        #: number of the query of each piece, and where its second phrase begins, in positions [shape=(n,)];
        #: None where the data have none
        self.queries, self.firsts = self._integers("group"), self._integers("first")

    def label(self, name: str) -> NDArray[Any]:
        """Labels of the pieces: [shape=(n,), int32] classes, or [shape=(n, C), float32]."""
        self.column(name)
        return self._values

    @cached_property
    def groups(self) -> dict[str, str]:
        """Query, identifier or name of each piece by its name."""
        groups: Sequence[str] = self.ids or self.names
        if self.queries is not None:
            parts = self.split(SPLIT).values()
            groups = [f"{part}-{query}" for part, query in zip(parts, self.queries.tolist(), strict=True)]
        return dict(zip(self.names, groups, strict=True))

    def _read_labels(self, part: str) -> tuple[Bools, Ints]:
        """Classes of the pieces of a part [shape=(n, C)], and how many labels each has [shape=(n,)]."""
        prefix = self.path / "label" / part
        sizes = read_index(prefix).astype(np.int64)
        if len(sizes) != len(self.part(part)):
            message = f"{len(sizes)} labels for {len(self.part(part))} pieces"
            raise self._error("wrong-length", message, prefix)
        ids = read_tokens(prefix).astype(np.int64) - len(SPECIALS)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        known = (ids >= 0) & (ids < len(self.classes))
        hot = np.zeros((len(sizes), len(self.classes)), bool)
        hot[owner[known], ids[known]] = True
        counts = sizes - 1  # </s>
        unknown = int(counts.sum() - known.sum())
        if unknown:  # left out upstream, too: the dictionary comes from the training part alone
            logger.warning("%s: %d labels are unknown to the dictionary and left out", part, unknown)
        return hot, counts

    def _numbers(self, part: str, outputs: int) -> Singles:
        """Numbers in place of classes [shape=(n, outputs)]."""
        path = self.path / "label" / f"{part}.label"
        lines = self.lines(part, "label")
        if lines is None:
            raise self._error("not-found", "There are no labels", path)
        try:
            rows = [[float(value) for value in line.split()] for line in lines]
        except ValueError as error:
            raise self._error("wrong-label", f"A label is not a number: {error}", path) from error
        wrong = [number for number, row in enumerate(rows, start=1) if len(row) != outputs]
        if wrong:
            raise self._error("wrong-label", f"Line {wrong[0]} does not hold {outputs} numbers", path)
        return np.array(rows, np.float32).reshape(len(rows), outputs)

    def _integers(self, suffix: str) -> Ints | None:
        lines = [self.lines(part, suffix) for part in self.parts]
        if None in lines:
            return None
        return np.array([line for part_lines in lines for line in part_lines or ()], np.int64)
