"""Bars and time signatures of a piece, as run lengths over positions.

Upstream walks position by position; here a time signature is a run of positions and its bars one ``arange``.
The length of a bar is fixed where the bar begins: a signature that changes inside a bar takes effect at the
next bar line, but the notes after the change already carry it (`Policies.mid_bar_metre`).
"""

from typing import NamedTuple

import numpy as np

from musicbert.arrays import Ints
from musicbert.encoding.policies import Policies
from musicbert.encoding.quantise import (
    BAR_LENGTHS,
    MAX_POSITIONS,
    WHOLE_NOTE,
    metre_code,
    positions,
    reduce_metre,
)
from musicbert.errors import MidiError
from musicbert.midi import Score

#: Time signature of a file without one.
COMMON_TIME = (4, 4)


class BarTable(NamedTuple):
    """Bars and time signatures of positions 0 to a limit.

    ``bar_start``: first position of each bar [shape=(bars,), int64]; ``run_start``, ``run_code``: first
    position of each run of one time signature, and its code [shape=(runs,), int64].
    """

    bar_start: Ints
    run_start: Ints
    run_code: Ints


class _Run(NamedTuple):
    start: int
    metre: tuple[int, int]


def bar_table(score: Score, limit: int, policies: Policies) -> BarTable:
    """Lay out the bars of the first `limit` positions.

    Raises `MidiError` (``unsupported-metre``, depending on the policies). A signature without any position is
    ignored.
    """
    runs = _runs(score, limit)
    bars: list[Ints] = []
    starts: list[Ints] = []
    codes: list[Ints] = []
    begin = 0  # where the next bar begins
    for run, stop in zip(runs, [*(later.start for later in runs[1:]), limit], strict=True):
        cycle = _cycle(run.metre, policies)
        if begin > run.start and policies.mid_bar_metre == "error":
            raise MidiError(
                "unsupported-metre",
                f"the time signature changes inside a bar, to {run.metre[0]}/{run.metre[1]}",
                hint='choose mid_bar_metre "keep" or "split"',
            )
        if begin > run.start and policies.mid_bar_metre == "split":
            last = int(bars[-1][-1])
            starts.append(np.array([last]))
            codes.append(np.array([_code_of_length(run.start - last, int(codes[-1][-1]))]))
            begin = run.start
        if begin >= stop:
            starts.append(np.array([run.start]))
            codes.append(np.array([cycle[0]]))
            continue
        inside, tokens = _bars_of(cycle, begin, stop)
        bars.append(inside)
        begin = int(inside[-1] + BAR_LENGTHS[tokens[-1]])
        if len(cycle) == 1:
            starts.append(np.array([run.start]))
            codes.append(np.array([cycle[0]]))
        else:
            starts.append(np.maximum(inside, run.start))
            starts[-1][0] = run.start
            codes.append(tokens)
    return BarTable(np.concatenate(bars), np.concatenate(starts), np.concatenate(codes))


def _runs(score: Score, limit: int) -> list[_Run]:
    """Time signatures that rule at least one position below the limit, equal neighbours joined."""
    order = np.argsort(score.metre_tick, kind="stable")
    at = positions(score.metre_tick[order], score.ticks_per_beat)
    rules = np.append(at[1:] > at[:-1], np.True_)[: len(at)] & (at < limit)
    metres = np.stack([score.metre_numerator[order], score.metre_denominator[order]], axis=1)[rules]
    runs: list[_Run] = []
    if not rules.any() or at[rules][0] > 0:
        runs.append(_Run(0, COMMON_TIME))
    for start, (numerator, denominator) in zip(at[rules].tolist(), metres.tolist(), strict=True):
        if not runs or runs[-1].metre != (numerator, denominator):
            runs.append(_Run(start, (numerator, denominator)))
    return runs


def _cycle(metre: tuple[int, int], policies: Policies) -> list[int]:
    """Codes of the bars that one bar of a signature becomes: one, or several where a long bar is split."""
    numerator, denominator = reduce_metre(*metre)
    code = metre_code(numerator, denominator)
    if code is None:
        return [_nearest(metre, policies)]
    if policies.long_metre == "split" and numerator == 1 and metre[0] > 2 * metre[1]:
        parts = -(-metre[0] // (2 * metre[1]))
        if metre_code(1, metre[1]) is not None:
            short, longer = divmod(metre[0], parts)
            # parts beyond the grid are never reached; a numerator may be huge
            longer, rest = min(longer, MAX_POSITIONS), min(parts - longer, MAX_POSITIONS)
            lengths = [short + 1] * longer + [short] * rest
            return [_must(metre_code(length, metre[1])) for length in lengths]
    return [code]


def _nearest(metre: tuple[int, int], policies: Policies) -> int:
    """Code over 64 with the nearest bar length, or the error."""
    numerator, denominator = metre
    if policies.unsupported_metre == "error":
        raise MidiError(
            "unsupported-metre",
            f"the time signature {numerator}/{denominator} has no token",
            hint='choose unsupported_metre "nearest"',
        )
    length = int(numerator * WHOLE_NOTE / denominator + 0.5)
    return _must(metre_code(min(max(length, 1), 2 * WHOLE_NOTE), WHOLE_NOTE))


def _must(code: int | None) -> int:
    assert code is not None
    return code


def _code_of_length(length: int, code: int) -> int:
    """Code of a bar that was cut to a length in positions, its denominator as near to the old as fits."""
    denominator = WHOLE_NOTE // int(np.gcd(length, WHOLE_NOTE))
    old = next(power for power in (1, 2, 4, 8, 16, 32, 64) if code < 2 * (2 * power - 1))
    denominator = max(denominator, old)
    return _must(metre_code(length * denominator // WHOLE_NOTE, denominator))


def _bars_of(cycle: list[int], begin: int, stop: int) -> tuple[Ints, Ints]:
    """Starts and codes of the bars that begin in [begin, stop)."""
    lengths = BAR_LENGTHS[cycle]
    if len(cycle) == 1:
        inside = np.arange(begin, stop, int(lengths[0]), dtype=np.int64)
        return inside, np.full(len(inside), cycle[0], np.int64)
    period = int(lengths.sum())
    within = np.cumsum(lengths) - lengths
    rounds = np.arange(begin, stop, period, dtype=np.int64)
    inside = (rounds[:, None] + within).reshape(-1)
    codes = np.tile(np.array(cycle, np.int64), len(rounds))
    return inside[inside < stop], codes[inside < stop]
