"""From what a user has (a file, bytes, a score, rows) to rows with what a model needs beside them."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from musicbert.encoding import PERFORMANCE_INPUTS, Policies, encode_notes, performance_inputs
from musicbert.encoding.octuple import MAX_POSITIONS
from musicbert.encoding.policies import COMPATIBLE
from musicbert.encoding.vocabulary import check_rows
from musicbert.errors import MidiError
from musicbert.midi import Score, read_score

__all__ = ["Piece", "Source", "read_piece"]

#: what is one piece: anything that `read_score` takes, or rows [shape=(n, 8), integers]
Source = str | PathLike[str] | bytes | IO[bytes] | Score | NDArray[Any] | Any


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece.

    Attributes
    ----------
    rows
        [shape=(n, 8), int64], n >= 1, sorted; bars may exceed 255.
    performance
        Performance inputs [shape=(n, P), float32], or None.
    """

    rows: NDArray[np.int64]
    performance: NDArray[np.float32] | None = None


def read_piece(
    source: Source, *, performance: int = 0, masked: bool = False, policies: Policies = COMPATIBLE
) -> Piece:
    """Read and encode one piece.

    Parameters
    ----------
    source
        Anything that `read_score` takes, or an array of rows.
    performance
        Performance inputs of the model; 0 for none.
    masked
        Whether a model with performance inputs does without them where there are only rows (it then sees
        zeros, as at masked notes).
    policies
        See `encode`.

    Raises
    ------
    MidiError
        As `encode`; ``bad-value`` for rows that are not sorted; ``needs-music`` for rows where the model has
        performance inputs; ``other-inputs`` where these are not the ones that this program computes.
    TypeError
        For another type of source.
    """
    if isinstance(source, Piece):
        return source
    if isinstance(source, np.ndarray):
        rows = check_rows(source, bars=MAX_POSITIONS)
        if len(rows) == 0:
            raise MidiError("no-notes", "there are no rows")
        if (np.diff(rows[:, 0]) < 0).any():
            raise MidiError("bad-value", "rows are not sorted by bar", hint="sort them as encode does")
        if performance and not masked:
            raise MidiError(
                "needs-music",
                "the model has performance inputs, and rows do not hold them",
                hint="give the MIDI file or the score",
            )
        return Piece(rows)
    score = source if isinstance(source, Score) else read_score(source)
    rows, note_index = encode_notes(score, policies=policies)
    if not performance:
        return Piece(rows)
    if performance != len(PERFORMANCE_INPUTS):
        raise MidiError(
            "other-inputs",
            f"the model has {performance} performance inputs, not {len(PERFORMANCE_INPUTS)} as computed here",
        )
    return Piece(rows, performance_inputs(score, note_index))
