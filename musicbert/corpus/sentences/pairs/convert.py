"""PiRhDy's files -> the raw set of pairs, as upstream's ``gen_nsp.py``.

Order and text are upstream's. Against it: the last part of the training file becomes the validation part
(upstream validates on the test), cut between two queries, and training pairs whose query occurs in it are
left out; a damaged line is left out of training, and takes its whole group of candidates out of the test, so
that groups stay complete; both are in the ledger. With ``valid_share`` 0 and undamaged files the text and
labels are upstream's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Bools, Ints
from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.folders import build_directory
from musicbert.corpus.files.ledger import Outcome, write_ledger
from musicbert.corpus.files.parallel import ordered_map
from musicbert.corpus.sentences.pairs.chords import ChordTable, load_chords
from musicbert.corpus.sentences.pairs.pirhdy import (
    GROUP,
    PairTask,
    check_block,
    count_lines,
    pair_rows,
    parse_block,
    phrase_hashes,
    raw_blocks,
)
from musicbert.corpus.sentences.pairs.rawset import PairReport, PartWriter, is_pair_set, text_of
from musicbert.encoding import dictionary_text
from musicbert.errors import DatasetError
from musicbert.progress import progress_bar

DAMAGED, GROUP_DAMAGED, SHARED, NOT_DRAWN = "bad-line", "bad-group", "query-in-valid", "not-drawn"


@dataclass(frozen=True)
class ConvertOptions:
    """How the files become a raw set."""

    task: PairTask
    valid_share: float = 0.05  # share of the training file that validates
    valid_max: int = 20_000  # maximum lines that validate
    samples: int = 0  # train on so many draws of two successive lines (a true and a false pair); all if 0
    test_groups: int = 0  # test on so many groups; all if 0
    seed: int = 7  # of the draws
    chords: str | None = None  # path of another table of chords than the package's
    workers: int = 1


@dataclass(frozen=True, eq=False)
class _Encoded:
    """Lines of a block that can be encoded, and the others."""

    numbers: Ints  # line numbers
    text: list[str]
    labels: Ints
    firsts: Ints
    hashes: NDArray[np.uint64]
    reasons: dict[int, str] = field(default_factory=dict)  # by line number


def _encode(work: tuple[int, list[bytes]], *, task: PairTask, chords: ChordTable) -> _Encoded:
    first_line, lines = work
    block = parse_block(first_line, lines)
    reasons = check_block(block, chords)
    good = np.array([row for row in range(len(lines)) if row not in reasons], np.int64)
    features = block.features[good]
    rows, firsts = pair_rows(features, task, chords)
    return _Encoded(
        first_line + good,
        text_of(rows) if len(good) else [],
        block.labels[good],
        firsts,
        phrase_hashes(features, 0),
        {first_line + row: reason for row, reason in reasons.items()},
    )


def convert(
    train: str | PathLike[str],
    test: str | PathLike[str],
    output: str | PathLike[str],
    options: ConvertOptions,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> PairReport:
    """Write a raw set from PiRhDy's two files of pairs; the test has groups of 50 lines, one query each.

    Raises `DatasetError`: ``not-found``, those of the chords and of `build_directory`, ``empty-split`` where
    a part has no pair.
    """
    if not 0 <= options.valid_share < 1:
        raise ValueError(f"valid_share is in [0, 1), not {options.valid_share}")
    encode = partial(_encode, task=options.task, chords=load_chords(options.chords))
    job = _Job(Path(train), Path(test), options, encode, progress)
    with build_directory(output, overwrite=overwrite, recognise=is_pair_set) as folder:
        write_text(folder / "dict.txt", dictionary_text())
        report = job.write(folder)
        about: dict[str, Any] = {
            "task": options.task,
            "source": "pirhdy",
            "seed": options.seed,
            "group": GROUP,
            "valid_share": options.valid_share,
            "parts": report.parts,
            "left_out": report.left_out,
            "shared_queries": report.shared_queries,
        }
        write_json(folder / "about.json", about)
        write_ledger(folder / "ledger.jsonl", job.outcomes)
    return report


class _Job:
    """One conversion: what is collected on the way."""

    def __init__(self, train: Path, test: Path, options: ConvertOptions, encode: Any, progress: bool) -> None:
        self.train, self.test, self.options, self.encode = train, test, options, encode
        self.progress = progress
        self.outcomes: list[Outcome] = []
        self.left_out: dict[str, int] = {}

    def write(self, folder: Path) -> PairReport:
        lines = count_lines(self.train)
        wanted = min(int(lines * self.options.valid_share), self.options.valid_max)
        cut = self._between_queries(lines - wanted, lines) if wanted else lines
        parts, seen, valid_queries = {}, np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        if cut < lines:
            with PartWriter(folder, "valid") as writer:
                valid_queries = self._pairs(writer, cut, lines, drop=valid_queries, drawn=None)
            parts["valid"] = writer.counts()
        with PartWriter(folder, "train") as writer:
            seen = self._pairs(writer, 0, cut, drop=valid_queries, drawn=self._drawn(cut))
        parts["train"] = writer.counts()
        with PartWriter(folder, "test") as writer:
            shared = self._groups(writer, seen)
        parts["test"] = writer.counts()
        for part, counts in parts.items():
            if counts["pairs"] == 0:
                raise DatasetError("empty-split", f"No pair is left for {part}", path=self.train.parent)
        return PairReport({part: parts[part] for part in PARTS if part in parts}, self.left_out, shared)

    def _encoded(self, path: Path, start: int, stop: int | None) -> Iterator[_Encoded]:
        blocks = raw_blocks(path, start=start, stop=stop)
        with progress_bar(desc=path.name, unit="line", shown=self.progress) as bar:
            for block in ordered_map(self.encode, blocks, workers=self.options.workers):
                for number, reason in block.reasons.items():
                    self._leave_out(DAMAGED, f"{path.name}:{number + 1}", reason)
                bar.update(len(block.numbers) + len(block.reasons))
                yield block

    def _pairs(
        self, writer: PartWriter, start: int, stop: int, *, drop: NDArray[np.uint64], drawn: Bools | None
    ) -> NDArray[np.uint64]:
        """Write lines of the training file and return the hashes of their queries, sorted."""
        seen, group, last = [], -1, None
        for block in self._encoded(self.train, start, stop):
            shared = np.isin(block.hashes, drop)
            for number in block.numbers[shared].tolist():
                self._leave_out(SHARED, f"{self.train.name}:{number + 1}", None)
            keep = ~shared
            if drawn is not None:
                keep &= drawn[block.numbers // 2]
                self._count(NOT_DRAWN, int((~shared).sum() - keep.sum()))
            index = np.flatnonzero(keep)
            groups = []
            for value in block.hashes[index].tolist():
                group += value != last
                last = value
                groups.append(group)
            text = [block.text[i] for i in index]
            writer.write(text, block.labels[index], np.array(groups, np.int64), block.firsts[index])
            seen.append(block.hashes[index])
        return np.unique(np.concatenate(seen)) if seen else np.zeros(0, np.uint64)

    def _groups(self, writer: PartWriter, seen: NDArray[np.uint64]) -> int:
        """Write the complete groups of the test file and count those whose query was trained on."""
        total = count_lines(self.test) // GROUP
        chosen = np.ones(total, bool)
        if 0 < self.options.test_groups < total:
            rng = np.random.default_rng([self.options.seed, 1])
            chosen[:] = False
            chosen[rng.choice(total, self.options.test_groups, replace=False)] = True
        shared = 0
        for block in self._encoded(self.test, 0, None):
            groups = block.numbers // GROUP
            for group in np.unique(groups).tolist():
                index = np.flatnonzero(groups == group)
                if len(index) < GROUP:
                    where = f"{self.test.name}:{group * GROUP + 1}"
                    self._leave_out(GROUP_DAMAGED, where, f"{len(index)} lines")
                elif not chosen[group]:
                    self._count(NOT_DRAWN, GROUP)
                else:
                    shared += bool(np.isin(block.hashes[index[0]], seen))
                    at = slice(int(index[0]), int(index[-1]) + 1)
                    writer.write(block.text[at], block.labels[at], groups[at], block.firsts[at])
        return shared

    def _between_queries(self, cut: int, lines: int) -> int:
        """Return the first line at or after ``cut`` whose query is not that of the line before."""
        last = None
        for first, block in raw_blocks(self.train, start=max(cut - 1, 0), stop=lines):
            for row, value in enumerate(phrase_hashes(parse_block(first, block).features, 0).tolist()):
                if last is not None and value != last:
                    return first + row
                last = value
        return lines

    def _drawn(self, lines: int) -> Bools | None:
        twos = (lines + 1) // 2
        if not 0 < self.options.samples < twos:
            return None
        drawn = np.zeros(twos, bool)
        rng = np.random.default_rng([self.options.seed, 0])
        drawn[rng.choice(twos, self.options.samples, replace=False)] = True
        return drawn

    def _leave_out(self, reason: str, name: str, detail: str | None) -> None:
        self.outcomes.append(Outcome(name, reason, detail=detail))
        self._count(reason, 1)

    def _count(self, reason: str, lines: int) -> None:
        if lines:
            self.left_out[reason] = self.left_out.get(reason, 0) + lines
