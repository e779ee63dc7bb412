"""One MIDI file to one line of the data set, or to the reason why not.

A pure function of the file's bytes, its name and the options: the random bar offset (and, beyond 1,000
notes, the window) is drawn from a generator seeded by the name, so neither the order of the files nor the
number of workers changes a byte.

`neutral_clock` removes what tells file families apart. Recorded performances carry a fictitious tempo and
time signature, rendered scores a real one, so these tokens alone tell which family a piece belongs to (on the
XAI-music files they raise performer accuracy from 9 % to 28 %). On the neutral clock a bar is two seconds
(4/4 at 120 BPM) and a position 1/32 of a second for every file.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints, Singles
from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.encoding import encode_notes, performance_inputs, rows_to_line
from musicbert.encoding.octuple import notes_beyond_limit
from musicbert.errors import MidiError
from musicbert.midi import Score, programs_elsewhere, read_score

#: Maximum notes of one line (MusicBERT's window).
WINDOW = 1000
#: Bars that the vocabulary can name.
BARS = 256
#: Ticks of a quarter note; at 120 BPM a tick is then about 0.1 ms, finer than any MIDI recording.
_TICKS_PER_BEAT = 4800
_TICKS_PER_SECOND = 2 * _TICKS_PER_BEAT


@dataclass(frozen=True)
class EncodeOptions:
    """How files become lines."""

    seed: int = 7  # of the bar offsets and windows, at least 0
    #: ``random`` moves each piece to a random bar in 0..255 - last bar, as published; ``zero`` leaves it
    bar_offset: Literal["random", "zero"] = "random"
    performance: bool = False  # also compute the performance inputs of each note
    neutralise: bool = False  # put every piece on the neutral clock first
    reader: Literal["symusic", "miditoolkit"] = "symusic"


@dataclass(frozen=True, eq=False)
class Piece:
    """A line of the data set."""

    name: str
    line: str  # tokens separated by blanks, without the last ``</s>``
    notes: int
    performance: Singles | None = None  # performance inputs [shape=(notes, P)]


def neutral_clock(score: Score) -> Score:
    """Put a score on the neutral clock: 4/4 and 120 BPM throughout, its first onset at tick 0.

    Sounding times (to within 0.05 ms) and the order of the notes are kept; controllers before the first onset
    are moved to it. The score has at least one note; the result has no tempo and time signature events (which
    means 120 BPM and 4/4).
    """
    start = float(score.seconds(score.onset).min())

    def ticks(times: Ints) -> Ints:
        moved = np.rint((score.seconds(times) - start) * _TICKS_PER_SECOND).astype(np.int64)
        return np.maximum(moved, 0)

    none = np.zeros(0, np.int64)
    return replace(
        score,
        ticks_per_beat=_TICKS_PER_BEAT,
        onset=ticks(score.onset),
        offset=ticks(score.offset),
        control_tick=ticks(score.control_tick),
        tempo_tick=none,
        tempo_bpm=np.zeros(0, np.float64),
        metre_tick=none,
        metre_numerator=none,
        metre_denominator=none,
    )


def encode_piece(
    name: str, content: bytes, *, path: str | None = None, options: EncodeOptions | None = None
) -> tuple[Outcome, Piece | None]:
    """Turn the bytes of a MIDI file into a line (None where the outcome is the reason of a `MidiError`)."""
    options = options or EncodeOptions()
    digest = sha256(content).hexdigest()
    try:
        score = read_score(content, reader=options.reader, name=path or name)
        encoded = neutral_clock(score) if options.neutralise else score
        rows, note_index = encode_notes(encoded)
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
        beyond_limit=notes_beyond_limit(encoded) or None,
        programs_elsewhere=programs_elsewhere(content) or None,
    )
    return outcome, Piece(name, rows_to_line(rows), len(rows), inputs)


def _place(bars: Ints, name: str, options: EncodeOptions) -> tuple[NDArray[np.intp], int]:
    """Choose the notes to keep, by their bars [shape=(n,), ascending], and what is added to their bars."""
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
