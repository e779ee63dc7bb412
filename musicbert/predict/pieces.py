"""Reading a source (file, bytes, score or rows) into the rows and inputs that a model needs."""

from dataclasses import dataclass
from os import PathLike
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Ints, Singles
from musicbert.encoding import KNOWN_INPUTS, PERFORMANCE_INPUTS, Policies, encode_notes, performance_inputs
from musicbert.encoding.beat_notes import BeatNotes, beat_notes_to_score
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.policies import WHOLE
from musicbert.encoding.quantise import MAX_POSITIONS
from musicbert.encoding.vocabulary import check_rows
from musicbert.errors import MidiError
from musicbert.midi import Score, read_score
from musicbert.objectives.note_fields import note_fields

#: anything that `read_score` takes, notes in beats, or rows [shape=(n, F), integers]
Source = str | PathLike[str] | bytes | IO[bytes] | Score | BeatNotes | NDArray[Any] | Any


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece.

    ``rows`` [shape=(n, F), int64], n >= 1; octuples are sorted by bar, and bars may exceed 255.
    ``performance`` [shape=(n, P), float32]: performance inputs, or None. ``note_index`` [shape=(n,), int64]:
    row i is note ``note_index[i]`` of the source; None where rows were given. ``hidden`` [shape=(n, F),
    bool]: true at tokens that the model does not see, or None.
    """

    rows: Ints
    performance: Singles | None = None
    note_index: Ints | None = None
    hidden: Bools | None = None

    def __repr__(self) -> str:
        return f"Piece({len(self.rows)} notes, {self.rows.shape[1]} fields)"


def read_piece(
    source: Source,
    *,
    codec: str = "octuple",
    performance: int = 0,
    masked: bool = False,
    policies: Policies = WHOLE,
) -> Piece:
    """Read and encode one piece.

    ``codec`` is the encoding that the model reads, ``performance`` its number of performance inputs.
    ``masked`` accepts rows even for a model with performance inputs: it then sees zeros, as at masked notes.
    ``policies`` are those of `encode` (OctupleMIDI only).

    Raises `MidiError` (those of `encode`; ``bad-value``: rows out of range or not sorted by bar;
    ``needs-music``: rows for a model with performance inputs; ``other-inputs``: the model has other
    performance inputs than this program computes) and `TypeError` (another type of source).
    """
    if isinstance(source, Piece):
        return source
    if isinstance(source, np.ndarray):
        if performance and not masked:
            raise MidiError(
                "needs-music",
                "the model has performance inputs, and rows do not hold them",
                hint="give the MIDI file or the score",
            )
        return Piece(_checked(source, codec))
    if performance not in (0, len(PERFORMANCE_INPUTS)):
        raise MidiError(
            "other-inputs",
            f"the model has {performance} performance inputs, not {len(PERFORMANCE_INPUTS)} as computed here",
            hint="inputs of the score come from a data-bin alone" if performance in KNOWN_INPUTS else None,
        )
    notes = source if isinstance(source, Score | BeatNotes) else read_score(source)
    if codec == "octuple":
        notes = beat_notes_to_score(notes) if isinstance(notes, BeatNotes) else notes
        rows, note_index = encode_notes(notes, policies=policies)
    else:
        rows, note_index = get_codec(codec).encode(notes)
    if not performance:
        return Piece(rows, note_index=note_index)
    return Piece(rows, performance_inputs(notes, note_index), note_index)


def _checked(source: NDArray[Any], codec: str) -> Ints:
    """Rows of a codec, checked, as int64."""
    if codec == "octuple":
        rows = check_rows(source, bars=MAX_POSITIONS)
        if (np.diff(rows[:, 0]) < 0).any():
            raise MidiError("bad-value", "rows are not sorted by bar", hint="sort them as encode does")
    else:
        values = np.asarray(note_fields(codec).values)
        shaped = source.ndim == 2 and source.shape[1] == len(values) and source.dtype.kind in "iu"
        if not shaped or (source < 0).any() or (source >= values).any():
            raise MidiError("bad-value", f"An array of shape {source.shape} does not hold rows of {codec!r}")
        rows = source.astype(np.int64)
    if len(rows) == 0:
        raise MidiError("no-notes", "there are no rows")
    return rows
