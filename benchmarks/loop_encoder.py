"""The plain way to encode: miditoolkit objects and Python loops, from the description of the encoding.

It is what the vectorised encoder is measured against, and a second opinion in the tests: it shares no code
with `musicbert.encoding`.
"""

import math
from typing import Any

QUARTER, LAST_POSITION, OCTAVES, STEPS = 16, 1 << 16, 8, 16


def _metres() -> dict[tuple[int, int], int]:
    codes: dict[tuple[int, int], int] = {}
    for power in range(7):
        for numerator in range(1, 2 * 2**power + 1):
            codes[numerator, 2**power] = len(codes)
    return codes


METRES = _metres()
METRE_LIST = list(METRES)


def _durations() -> list[int]:
    table: list[int] = []
    for octave in range(OCTAVES):
        for _ in range(STEPS):
            code = len(set(table))
            table.extend([code] * 2**octave)
    return [*table, OCTAVES * STEPS - 1]


DURATIONS = _durations()


def reduce_metre(numerator: int, denominator: int) -> int:
    while denominator > 64 and numerator % 2 == 0 and denominator % 2 == 0:
        numerator //= 2
        denominator //= 2
    while numerator > 2 * denominator:
        for divisor in range(2, numerator + 1):
            if numerator % divisor == 0:
                numerator //= divisor
                break
    return METRES[numerator, denominator]


def encode(midi: Any) -> list[tuple[int, ...]]:
    """Rows of a ``miditoolkit.MidiFile``, as sorted tuples."""

    def at(tick: int) -> int:
        return round(tick * QUARTER / midi.ticks_per_beat)

    notes = [(note, instrument) for instrument in midi.instruments for note in instrument.notes]
    if not notes:
        return []
    last = min(max(at(note.start) for note, _ in notes) + 1, LAST_POSITION)
    table = [[0, METRES[4, 4], 0, 35] for _ in range(last)]
    for changes, column, code in (
        (midi.time_signature_changes, 1, lambda change: reduce_metre(change.numerator, change.denominator)),
        (
            midi.tempo_changes,
            3,
            lambda change: round(12 * math.log2(min(max(change.tempo, 16), 256) / 16)),
        ),
    ):
        for index, change in enumerate(changes):
            stop = at(changes[index + 1].time) if index + 1 < len(changes) else last
            for position in range(at(change.time), min(stop, last)):
                table[position][column] = code(change)
    bar = count = length = 0
    for entry in table:
        if count == 0:
            numerator, denominator = METRE_LIST[entry[1]]
            length = numerator * 64 // denominator
        entry[0], entry[2] = bar, count
        count += 1
        if count == length:
            bar, count = bar + 1, 0
    rows = []
    for note, instrument in notes:
        begin, end = at(note.start), at(note.end)
        if begin >= last:
            continue
        number, metre, position, tempo = table[begin]
        duration = DURATIONS[min(end - begin, len(DURATIONS) - 1)]
        program = 128 if instrument.is_drum else int(instrument.program)
        pitch = note.pitch + 128 if instrument.is_drum else note.pitch
        rows.append((number, position, program, pitch, duration, note.velocity // 4, metre, tempo))
    return sorted(rows)
