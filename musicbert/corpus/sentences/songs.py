"""MIDI files of a sentence task: read in processes, set aside, and grouped by song.

Versions of one song (`musicbert.corpus.splits.song_groups`) are one group, so a split can keep them together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.files.archive import Member, MidiSource
from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.files.parallel import each_member
from musicbert.corpus.splits.song_groups import song_groups

Content = TypeVar("Content")
Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class SongPiece(Generic[Content]):
    """A file as it was read."""

    notes: int
    marks: tuple[str, NDArray[np.uint32]]  # as `musicbert.corpus.splits.song_groups.song_marks`
    content: Content  # what the task makes of the file
    notes_written: int | None = None  # notes of its longest line, if known
    beyond_limit: int = 0  # notes that are left out (see `musicbert.corpus.files.ledger.Outcome`)


def read_songs(
    source: MidiSource,
    members: Sequence[Member],
    read: Callable[[Member, bytes], SongPiece[Content]],
    keep: Callable[[Content], Kept],
    *,
    name: Callable[[Outcome], str],
    workers: int,
    progress: str,
) -> tuple[list[Outcome], dict[str, Kept], dict[str, str]]:
    """Read files and group them by song.

    ``read`` is called in the worker processes (see `each_member`); ``keep`` here, in the order of the files,
    to store the content. Returns the outcome of each file, with its group if it is ok; what ``keep``
    returned, by the name of the file; and the song of each file that is ok, by its name.
    """
    outcomes: list[Outcome] = []
    kept: dict[str, Kept] = {}
    marks = []
    for done in each_member(source, members, read, workers=workers, progress=progress):
        outcome, piece = done.outcome, done.result
        if piece is not None:
            kept[name(outcome)] = keep(piece.content)
            marks.append(piece.marks)
            outcome = replace(
                outcome,
                notes=piece.notes,
                notes_written=piece.notes_written,
                content=piece.marks[0],
                beyond_limit=piece.beyond_limit or None,
            )
        outcomes.append(outcome)
    names = list(kept)
    groups = dict(zip(names, song_groups(names, [m[0] for m in marks], [m[1] for m in marks]), strict=True))
    return [replace(o, group=groups[name(o)]) if o.ok else o for o in outcomes], kept, groups
