"""The raw set of phrase pairs: text lines, labels and what the ranking needs, as upstream lays it out.

``OUT/`` holds ``dict.txt`` and for each part (train, valid, test) one line a pair in

==================  ===========================================================================
``<part>.txt``      tokens (`musicbert.encoding.encoding_to_str`: at most 1,000 notes, 256 bars)
``<part>.label``    1 where the phrases belong together, else 0
``<part>.group``    number of the query (first phrase): candidates of one query are ranked together
``<part>.first``    where the second phrase begins, in positions (0: both at once); for baselines
==================  ===========================================================================

and ``about.json`` (what made it) and ``ledger.jsonl`` (what was left out, and why). The first two are what
upstream's ``gen_nsp.py`` writes, valid apart; the parts are written line by line.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from musicbert.arrays import Ints
from musicbert.encoding import encoding_to_str

_SUFFIXES = ("txt", "label", "group", "first")


@dataclass(frozen=True)
class PairReport:
    """What was written."""

    parts: dict[str, dict[str, int]]  # part -> number of ``pairs``, of ``true`` ones and of ``queries``
    left_out: dict[str, int]  # reason -> number of lines (or files) left out
    shared_queries: int = 0  # test queries whose first phrase is, note for note, one of training

    def summary(self) -> str:
        """Return one line for people."""
        parts = ", ".join(
            f"{part} {n['pairs']} pairs ({n['true']} true, {n['queries']} queries)"
            for part, n in self.parts.items()
        )
        left = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        shared = f"; {self.shared_queries} test queries occur in training" if self.shared_queries else ""
        return f"{parts}; left out: {left or 'none'}{shared}"


def is_pair_set(folder: Path) -> bool:
    """Whether a folder is such a raw set, so that it may be replaced."""
    return (folder / "about.json").is_file() and (folder / "dict.txt").is_file()


def text_of(rows: Sequence[Ints]) -> list[str]:
    """Return the lines of pairs by their rows, each [shape=(n, 8)]."""
    return [encoding_to_str(row) for row in rows]


class PartWriter(ExitStack):
    """The files of one part, open for writing; use it as a context manager."""

    def __init__(self, folder: Path, part: str) -> None:
        super().__init__()
        self.pairs = self.positives = 0
        self._groups: set[int] = set()
        self._files = {
            suffix: self.enter_context((folder / f"{part}.{suffix}").open("w", encoding="utf-8"))
            for suffix in _SUFFIXES
        }

    def write(self, lines: Sequence[str], labels: Ints, groups: Ints, firsts: Ints) -> None:
        """Append pairs: their text, labels, query numbers and beginnings of the second phrase."""
        columns = (lines, labels.tolist(), groups.tolist(), firsts.tolist())
        for suffix, column in zip(_SUFFIXES, columns, strict=True):
            self._files[suffix].writelines(f"{value}\n" for value in column)
        self.pairs += len(lines)
        self.positives += int(labels.sum())
        self._groups.update(groups.tolist())

    def counts(self) -> dict[str, int]:
        """Return how many pairs, true pairs and queries were written."""
        return {"pairs": self.pairs, "true": self.positives, "queries": len(self._groups)}
