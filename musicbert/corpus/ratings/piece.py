"""One MIDI file to one line of the data set, or to the reason why not.

A pure function of the file's bytes, its name and the options: the random bar offset (and, beyond 1,000
notes, the window) is drawn from a generator seeded by the name, so neither the order of the files nor the
number of workers changes a byte. Verified in ``tests/unit/corpus/test_piece.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.corpus.ratings.neutral import neutral_clock
from musicbert.encoding import encode_notes, performance_inputs, rows_to_line
from musicbert.errors import MidiError
from musicbert.midi import read_score

__all__ = ["BARS", "WINDOW", "EncodeOptions", "Piece", "encode_piece"]

#: Most notes of one line (MusicBERT's window).
WINDOW = 1000
#: Bars that the vocabulary can name.
BARS = 256


@dataclass(frozen=True)
class EncodeOptions:
    """How files become lines.

    Attributes
    ----------
    seed
        Seed of the bar offsets and windows, at least 0.
    bar_offset
        ``"random"`` moves each piece to a random bar in 0..255 - last bar, as published; ``"zero"`` leaves
        it.
    performance
        Also compute the performance inputs of each note.
    neutralise
        Put every piece on one clock first (`musicbert.corpus.ratings.neutral`).
    reader
        MIDI parser.
    """

    seed: int = 7
    bar_offset: Literal["random", "zero"] = "random"
    performance: bool = False
    neutralise: bool = False
    reader: Literal["symusic", "miditoolkit"] = "symusic"


@dataclass(frozen=True, eq=False)
class Piece:
    """A line of the data set.

    Attributes
    ----------
    name
        Identifier.
    line
        Tokens separated by blanks, without the last ``</s>``.
    notes
        Notes in the line.
    performance
        Performance inputs [shape=(notes, P), float32], or None.
    """

    name: str
    line: str
    notes: int
    performance: NDArray[np.float32] | None = None


def encode_piece(
    name: str, content: bytes, *, path: str | None = None, options: EncodeOptions | None = None
) -> tuple[Outcome, Piece | None]:
    """Turn a MIDI file into a line.

    Parameters
    ----------
    name
        Identifier of the piece.
    content
        Bytes of the file.
    path
        Where it lies, for the ledger.
    options
        How to encode.

    Returns
    -------
    outcome
        ``ok``, or the reason of the `MidiError`.
    piece
        The line, or None.
    """
    options = options or EncodeOptions()
    digest = sha256(content).hexdigest()
    try:
        score = read_score(content, reader=options.reader, name=path or name)
        rows, note_index = encode_notes(neutral_clock(score) if options.neutralise else score)
        inputs = performance_inputs(score, note_index) if options.performance else None
    except MidiError as error:
        return Outcome(name, error.reason, path=path, sha256=digest, detail=error.message), None
    keep, offset = _place(rows[:, 0], name, options)
    rows = rows[keep]
    rows[:, 0] += offset
    if inputs is not None:
        inputs = np.ascontiguousarray(inputs[keep])
    times = score.seconds(np.concatenate([score.onset, score.offset]))
    outcome = Outcome(
        name,
        OK,
        path=path,
        notes=len(score),
        notes_written=len(rows),
        seconds=round(float(times.max() - times.min()), 3),
        sha256=digest,
    )
    return outcome, Piece(name, rows_to_line(rows), len(rows), inputs)


def _place(bars: NDArray[np.int64], name: str, options: EncodeOptions) -> tuple[NDArray[np.intp], int]:
    """Choose the notes to keep and the bar offset.

    Parameters
    ----------
    bars
        Bar of each note [shape=(n,), ascending].

    Returns
    -------
    keep
        Indices of the notes of the window that the vocabulary can name.
    offset
        To be added to their bars.
    """
    words = sha256(name.encode("utf-8", "surrogateescape")).digest()[:16]
    rng = np.random.default_rng([options.seed, int.from_bytes(words, "big")])
    start = int(rng.integers(0, len(bars) - WINDOW + 1)) if len(bars) > WINDOW else 0
    keep = np.arange(start, min(start + WINDOW, len(bars)))
    first, last = int(bars[keep[0]]), int(bars[keep[-1]])
    if last < BARS:
        offset = int(rng.integers(0, BARS - last)) if options.bar_offset == "random" else 0
    else:  # too late a bar for any offset: begin at bar 0 and drop what is still beyond the last bar
        offset = -first
        keep = keep[bars[keep] + offset < BARS]
    return keep, offset
