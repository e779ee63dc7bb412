"""Which pieces are versions of one song, for splits that none of them straddles.

Pieces of equal content (programs and pitches) and pieces whose melodies share fragments
(`musicbert.corpus.splits.similar`) are one group, transitively. A group is called after the first of its
names, so it does not depend on the order of the files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.splits.similar import NO_SIGNATURE, Groups, join_similar, signature
from musicbert.encoding import content_md5
from musicbert.encoding.quantise import positions
from musicbert.midi import Score

__all__ = ["song_groups", "song_marks"]

Ints = NDArray[np.int64]


def song_marks(score: Score, rows: Ints, note_index: Ints) -> tuple[str, NDArray[np.uint32]]:
    """Return what tells songs apart: the content hash and the signature of the melody."""
    onset = positions(score.onset[note_index], score.ticks_per_beat)
    return content_md5(rows), signature(onset, rows[:, 2], rows[:, 3])


def song_groups(
    names: Sequence[str], contents: Sequence[str], signatures: Sequence[NDArray[np.uint32]]
) -> list[str]:
    """Return the group of each piece.

    Parameters
    ----------
    names
        Distinct.
    contents, signatures
        Of `song_marks`, in the order of the names.
    """
    if not names:
        return []
    order = sorted(range(len(names)), key=names.__getitem__)
    groups = Groups(len(names))  # over places in the sorted order: the root is the first name
    table = np.array([signatures[at] for at in order], np.uint32)
    first: dict[str, int] = {}
    for place, at in enumerate(order):
        groups.join(place, first.setdefault(contents[at], place))
    join_similar(table, np.flatnonzero((table != NO_SIGNATURE).any(axis=1)), groups)
    result = [""] * len(names)
    for place, root in enumerate(groups.roots().tolist()):
        result[order[place]] = names[order[root]]
    return result
