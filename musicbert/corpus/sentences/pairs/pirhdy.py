"""PiRhDy's files of phrase pairs, read block by block and turned into OctupleMIDI rows.

A line is 1,025 integers with commas between: two phrases, each as four features of 128 steps, and the label
(1: the phrases belong together, 0: they do not).

=======  =====================================================================
feature  meaning
=======  =====================================================================
0        chord id, 0 after the end of the phrase (`musicbert.corpus.sentences.pairs.chords`)
1        octave; the pitch is ``pitch class + 12 (octave - 1)``
2        velocity bucket 1-10 (`VELOCITIES`)
3        state: 3 onset, 2 held, 1 last step, anything else no sound
=======  =====================================================================

A step is 1/32 of a whole note: 2 positions. A note begins where the state is 3 (or 2 at the first step) and
the id is a chord, and lasts until the first later step whose state is neither 1 nor 2. Everything is in 4/4
at 120 BPM. Both phrases have program 80, but the second of ``acc`` has 0; the second phrase of ``next``
begins after the steps of the first that have an id. These are facts of MusicBERT's ``gen_nsp``.

Legend: ``n`` pairs of a block, ``T`` 128 steps.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Ints
from musicbert.corpus.sentences.pairs.chords import ChordTable
from musicbert.encoding.quantise import METRES, duration_code, tempo_code, velocity_code
from musicbert.errors import DatasetError

PairTask = Literal["next", "acc"]

PHRASES, FEATURES, STEPS = 2, 4, 128
INTEGERS = PHRASES * FEATURES * STEPS + 1
CHORD, OCTAVE, VELOCITY, STATE = range(FEATURES)
ONSET, HELD, LAST = 3, 2, 1
#: MIDI velocity of each bucket from 1.
VELOCITIES = np.array([8, 20, 31, 42, 53, 64, 80, 96, 112, 127])
#: Positions (1/16 of a quarter note) of a step, and of a 4/4 bar.
STEP_POSITIONS, BAR_POSITIONS = 2, 64
#: Programs of the first and second phrase (General MIDI, from 0: 80 square lead, 0 piano).
PROGRAMS: dict[str, tuple[int, int]] = {"next": (80, 80), "acc": (80, 0)}
_METRE, _TEMPO = METRES.index((4, 4)), int(tempo_code(120.0))
#: Lines of a group that is ranked, in the test files.
GROUP = 50
_BLOCK_LINES = 10 * GROUP


@dataclass(frozen=True, eq=False)
class PairBlock:
    """Consecutive lines of a file."""

    first_line: int  # from 0
    features: Ints  # [shape=(n, 2, 4, T), int64]; 0 where a line is damaged
    labels: Ints  # [shape=(n,), int64], 0 or 1; -1 where a line is damaged
    damage: dict[int, str]  # line of the block -> what is wrong with it


def raw_blocks(
    path: str | PathLike[str], *, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """Read lines ``start`` to ``stop - 1`` of a file in blocks of 500; memory does not grow with the file.

    Yields the number of the first line, from 0, and the lines of each block. Raises `DatasetError`
    (``not-found``).
    """
    with _open(path) as file:
        lines = itertools.islice(file, start, stop)
        for first in itertools.count(start, _BLOCK_LINES):
            block = list(itertools.islice(lines, _BLOCK_LINES))
            if not block:
                return
            yield first, block


def count_lines(path: str | PathLike[str]) -> int:
    """Count the lines of a file without holding it; raises ``not-found``."""
    count, last = 0, b"\n"
    with _open(path) as file:
        while chunk := file.read(1 << 20):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")


def _open(path: str | PathLike[str]) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        message = f"The pairs cannot be read: {error.strerror}"
        hint = "PiRhDy's folder holds context_next/{train,test} and context_acc/{train,test}"
        raise DatasetError("not-found", message, path=path, hint=hint) from error


def parse_block(first_line: int, lines: list[bytes]) -> PairBlock:
    """Parse lines; one that is not 1,025 integers with a label of 0 or 1 is listed as damaged."""
    values = np.zeros((len(lines), INTEGERS), np.int64)
    values[:, -1] = -1
    damage = {}
    for row, line in enumerate(lines):
        fields = line.split(b",")
        try:
            if len(fields) != INTEGERS:
                raise ValueError(f"{len(fields)} integers, not {INTEGERS}")
            values[row] = fields
            if values[row, -1] not in (0, 1):
                raise ValueError(f"the label is {values[row, -1]}")
        except (ValueError, OverflowError) as error:
            values[row], values[row, -1] = 0, -1
            damage[row] = str(error)
    features = values[:, :-1].reshape(-1, PHRASES, FEATURES, STEPS)
    return PairBlock(first_line, features, values[:, -1], damage)


def check_block(block: PairBlock, chords: ChordTable) -> dict[int, str]:
    """Return the lines that cannot be encoded and why, those that are damaged included."""
    sounding = _onsets(block.features, chords)
    octave, velocity = block.features[:, :, OCTAVE], block.features[:, :, VELOCITY]
    low = (sounding & ((octave < 1) | (octave > 20))).any(
        axis=(1, 2)
    )  # 21 octaves: pitches of the vocabulary
    loud = (sounding & ((velocity < 1) | (velocity > len(VELOCITIES)))).any(axis=(1, 2))
    reasons = dict.fromkeys(np.flatnonzero(low).tolist(), "a note has an octave outside 1-20")
    reasons |= dict.fromkeys(np.flatnonzero(loud).tolist(), "a note has a velocity bucket outside 1-10")
    return reasons | block.damage


def _onsets(features: Ints, chords: ChordTable) -> Bools:
    """Where a note begins [shape=(n, 2, T), bool]."""
    state = features[:, :, STATE]
    begins = state == ONSET
    begins[..., 0] |= state[..., 0] == HELD
    notes: Bools = begins & (chords.sizes(features[:, :, CHORD]) > 0)
    return notes


def _lengths(state: Ints) -> Ints:
    """Steps from each step to the first later one without sound [shape=(n, 2, T), int64]."""
    steps = np.arange(STEPS)
    sounds = (state == HELD) | (state == LAST)
    silent = np.where(sounds, STEPS, steps)  # its own step where silent
    next_silent = np.minimum.accumulate(silent[..., ::-1], axis=-1)[..., ::-1]
    after = np.concatenate([next_silent[..., 1:], np.full((*state.shape[:-1], 1), STEPS)], axis=-1)
    return np.asarray(after - steps, np.int64)


def pair_rows(features: Ints, task: PairTask, chords: ChordTable) -> tuple[list[Ints], Ints]:
    """Encode pairs by their features [shape=(n, 2, 4, T), int64].

    Returns ``rows``: OctupleMIDI rows of every pair, each [shape=(notes, 8), int64], sorted;
    ``first_positions``: where the second phrase begins [shape=(n,), int64, positions]; 0 for ``acc``.
    """
    pair, phrase, step = np.nonzero(_onsets(features, chords))
    chord = features[pair, phrase, CHORD, step]
    first_steps = (
        (features[:, 0, CHORD] != 0).sum(axis=-1) if task == "next" else np.zeros(len(features), int)
    )
    begin = STEP_POSITIONS * (step + np.where(phrase == 1, first_steps[pair], 0))
    length = STEP_POSITIONS * _lengths(features[:, :, STATE])[pair, phrase, step]
    velocity = VELOCITIES[features[pair, phrase, VELOCITY, step] - 1]
    # one row a pitch class of the chord
    sizes = chords.sizes(chord)
    note = np.repeat(np.arange(len(chord)), sizes)
    within = np.arange(len(note)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    pitch = chords.pitch_classes[chords.starts[chord][note] + within]
    pitch = pitch + 12 * (features[pair, phrase, OCTAVE, step][note] - 1)
    table = np.stack(
        [
            begin[note] // BAR_POSITIONS,
            begin[note] % BAR_POSITIONS,
            np.array(PROGRAMS[task])[phrase[note]],
            pitch,
            duration_code(length[note]),
            velocity_code(velocity[note]),
            np.full(len(note), _METRE),
            np.full(len(note), _TEMPO),
        ],
        axis=1,
    ).astype(np.int64)
    owner = pair[note]
    table = table[np.lexsort((*table.T[::-1], owner))]
    ends = np.cumsum(np.bincount(owner, minlength=len(features)))
    return np.split(table, ends[:-1]), STEP_POSITIONS * first_steps.astype(np.int64)


def phrase_hashes(features: Ints, phrase: int) -> NDArray[np.uint64]:
    """Return a number for each pair that is equal where the phrase (0 or 1) is [shape=(n,), uint64]."""
    rows = np.ascontiguousarray(features[:, phrase], np.int64)
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, np.uint64)
