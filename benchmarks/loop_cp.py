"""The plain way to compound words: miditoolkit objects and Python loops, from the description.

It is what the vectorised encoder is measured against, and a second opinion in the tests: it shares no code
with `musicbert.encoding`. `encode` does as M2BERT does from a MIDI file, `encode_beats` from notes in beats.
"""

from typing import Any

QUARTER, BAR, SLOT, SHORTEST, DURATIONS = 480, 1920, 120, 60, 64
LOW_PITCH, HIGH_PITCH = 22, 107


def nearest(values: Any, wanted: float) -> int:
    """Index of the value that is nearest, the first of equals."""
    best, index = float("inf"), 0
    for number, value in enumerate(values):
        distance = abs(value - wanted)
        if distance < best:
            best, index = distance, number
        elif value > wanted:
            break
    return index


def word(new: bool, position: int, pitch: int, duration: float) -> tuple[int, int, int, int]:
    pitch = min(max(pitch, LOW_PITCH), HIGH_PITCH)
    length = nearest(range(SHORTEST, SHORTEST * (DURATIONS + 1), SHORTEST), duration)
    return (0 if new else 1, position, pitch - LOW_PITCH, length)


def encode(midi: Any) -> list[tuple[int, int, int, int]]:
    """Rows of a ``miditoolkit.MidiFile``."""
    scale = midi.ticks_per_beat
    notes = []
    for instrument in midi.instruments:
        for note in sorted(instrument.notes, key=lambda note: (note.start, note.pitch)):
            if (note.end - note.start) / scale >= 1 / 16 - 1e-4:
                start, end = int(note.start * QUARTER / scale), int(note.end * QUARTER / scale)
                notes.append((start, end - start, note.pitch))
    notes.sort(key=lambda note: note[0])
    slots = range(0, notes[-1][0], SLOT)
    placed = []
    for start, duration, pitch in notes:
        near = max(start // SLOT - 1, 0)
        index = min(near + nearest(range(near * SLOT, near * SLOT + 4 * SLOT, SLOT), start), len(slots) - 1)
        placed.append((slots[index], duration, pitch))
    placed.sort(key=lambda note: note[0])
    last_edge = placed[-1][0] + placed[-1][1] + BAR
    rows = []
    before = None
    for start, duration, pitch in placed:
        bar = start // BAR
        if (bar + 1) * BAR < last_edge:
            rows.append(word(bar != before, (start - bar * BAR) // SLOT, pitch, duration))
            before = bar
    return rows


def encode_beats(notes: list[list[float]]) -> list[tuple[int, int, int, int]]:
    """Rows of notes ``[onset, offset, pitch]`` in beats of which a bar has four."""
    edges = range(0, round(max(note[1] for note in notes) + 4), 4)
    bars: dict[int, list[list[float]]] = {}
    for note in notes:
        bar = int(note[0] // 4)
        if 0 <= bar < len(edges) - 1:
            bars.setdefault(bar, []).append(note)
    rows = []
    for bar, inside in sorted(bars.items()):
        for number, (onset, offset, pitch) in enumerate(sorted(inside, key=lambda note: (note[0], note[2]))):
            start, end = (bar * BAR + (time - 4 * bar) / 4 * BAR for time in (onset, offset))
            position = nearest(range(0, BAR, SLOT), start - bar * BAR)
            rows.append(word(number == 0, position, int(pitch), end - start))
    return rows
