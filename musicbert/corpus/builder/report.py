"""What a build tells: the ledger, the timings and the counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert import __version__
from musicbert.annotation.folds import PARTS
from musicbert.atomic import read_json, write_json
from musicbert.corpus.builder.assemble import PartDone
from musicbert.corpus.builder.index import Index
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.builder.shards import read_records
from musicbert.corpus.builder.sources import EXCLUDED
from musicbert.corpus.builder.worker import TEST_MUSIC
from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.errors import DatasetError
from musicbert.walk import LINKED_FOLDER

#: Outcome of files whose programs and pitches are those of an earlier one.
DUPLICATE = "duplicate"
#: Outcome of written scores where the extra ``scores`` is not installed.
NO_MUSIC21 = "no-music21"
#: Counts of notes that the encoding does not hold as the file has them.
_NOTES = ("beyond_limit", "programs_elsewhere")
_FIELDS = {each.name for each in fields(Outcome)}


@dataclass(frozen=True)
class BuildReport:
    """Counts of a corpus: files by outcome; files, sequences and notes of each split; output shards.

    A note counts in every sequence that it is in. ``notes``: those in the ledger as ``beyond_limit`` and
    ``programs_elsewhere``; ``scores``: files in the corpus that are written scores.
    """

    outcomes: dict[str, int]
    splits: dict[str, dict[str, int]]
    shards: int
    notes: dict[str, int] = field(default_factory=dict)
    scores: int = 0

    @property
    def found(self) -> int:
        """Number of files."""
        return sum(self.outcomes.values())

    @property
    def failure_rate(self) -> float:
        """Share of the files that should be in the corpus and could not be encoded, in 0-1."""
        passed_over = (EXCLUDED, TEST_MUSIC, LINKED_FOLDER, NO_MUSIC21)
        wanted = self.found - sum(self.outcomes.get(reason, 0) for reason in passed_over)
        good = self.outcomes.get(OK, 0) + self.outcomes.get(DUPLICATE, 0)
        return (wanted - good) / wanted if wanted else 0.0

    @classmethod
    def read(cls, folder: str | PathLike[str]) -> BuildReport:
        """Read the report of a corpus; `DatasetError` ``not-found``."""
        path = Path(folder) / "build.json"
        try:
            record = read_json(path)
            known = (record.get("notes", {}), record.get("scores", 0))
            return cls(record["outcomes"], record["splits"], record["shards"], *known)
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError("not-found", "This is not a finished corpus", path=folder) from error


def write_reports(
    index: Index, parts: Sequence[PartDone], chunks: int, work: Path, target: Path, options: BuildOptions
) -> BuildReport:
    """Write ``ledger.jsonl``, ``timings.jsonl`` and ``build.json``."""
    names = _names_needed(index, chunks, work)
    outcomes: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    scores = 0
    with (target / "ledger.jsonl").open("wb") as ledger, (target / "timings.jsonl").open("wb") as timings:
        for number, record in enumerate(_records(work, chunks)):
            entry = index.files[number]
            outcome = _decided(record, entry, number, names)
            outcomes[outcome.outcome] += 1
            if outcome.ok:
                notes.update({name: getattr(outcome, name) or 0 for name in _NOTES})
                scores += outcome.notation is not None
            ledger.write((outcome.to_line() + "\n").encode())
            timing = {"path": record.get("path"), "milliseconds": record["milliseconds"]}
            timings.write((json.dumps(timing) + "\n").encode())
    splits: dict[str, dict[str, int]] = {}
    for split in PARTS:
        split_parts = [part for part in parts if part.split == split]
        splits[split] = {
            name: sum(getattr(part, name) for part in split_parts) for name in ("files", "sequences", "notes")
        }
    ordered = dict(sorted(outcomes.items(), key=lambda item: (-item[1], item[0])))
    report = BuildReport(ordered, splits, len({part.folder for part in parts}), dict(notes), scores)
    record = {"version": __version__, "options": json.loads(options.to_json()), **asdict(report)}
    write_json(target / "build.json", record)
    return report


def _records(work: Path, chunks: int) -> Iterator[dict[str, Any]]:
    for chunk in range(chunks):
        yield from read_records(work / "shards", chunk)


def _names_needed(index: Index, chunks: int, work: Path) -> dict[int, str]:
    """Paths of the files that others are copies or versions of."""
    table = index.files
    numbers = np.arange(len(table))
    needed = np.union1d(table["first"][table["first"] != numbers], table["group"][table["group"] != numbers])
    wanted = set(needed.tolist())
    return {
        number: record["path"] for number, record in enumerate(_records(work, chunks)) if number in wanted
    }


def _decided(record: dict[str, Any], entry: Any, number: int, names: dict[int, str]) -> Outcome:
    outcome = Outcome(**{key: value for key, value in record.items() if key in _FIELDS})
    changes: dict[str, Any] = {}
    if entry["ok"]:
        root, first = int(entry["group"]), int(entry["first"])
        if root in names:
            changes["group"] = names[root]
        if first != number:
            changes |= {"outcome": DUPLICATE, "copy_of": names[first]}
        else:
            changes |= {"split": PARTS[entry["split"]], "notes_written": int(entry["window_rows"])}
    return Outcome(**{**vars(outcome), **changes})
