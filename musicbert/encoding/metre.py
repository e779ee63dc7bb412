"""Bars and time signatures of a piece, as run lengths over positions.

Upstream walks position by position; here a time signature is a run of positions, and bars are counted by
division, so that memory does not grow with the length of a piece. The length of a bar is fixed where the bar
begins: a signature that changes inside a bar takes effect at the next bar line, but the notes after the
change already carry it (`Policies.mid_bar_metre`).
"""

from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from musicbert.arrays import Ints
from musicbert.encoding.policies import Policies
from musicbert.encoding.quantise import (
    BAR_LENGTHS,
    WHOLE_NOTE,
    metre_code,
    positions,
    reduce_metre,
)
from musicbert.errors import MidiError
from musicbert.midi import Score

#: Time signature of a file without one.
COMMON_TIME = (4, 4)


class Cycle(NamedTuple):
    """Bars that repeat: ``n`` of one time signature code, then ``m`` of another."""

    code: int
    n: int
    other: int
    m: int


class _Cycles:
    """The cycle that each of several runs follows; ``k`` is a run, or the run of each position."""

    def __init__(self, cycles: list[Cycle]) -> None:
        self.code, self.n, self.other, self.m = np.array(cycles, np.int64).T
        self.length, self.other_length = BAR_LENGTHS[self.code], BAR_LENGTHS[self.other]
        self.turn = self.n * self.length
        self.period, self.bars = self.turn + self.m * self.other_length, self.n + self.m
        self.simple = bool((self.bars == 1).all())

    def place(self, k: Ints | int, since: Ints) -> tuple[Ints, Ints]:
        """Bars before each position, counted from the first bar line, and the place in the bar."""
        rounds, rest = np.divmod(since, self.period[k])
        if self.simple:
            return rounds, rest
        late = rest - self.turn[k]
        part = np.where(late < 0, rest // self.length[k], self.n[k] + late // self.other_length[k])
        inside = np.where(late < 0, rest % self.length[k], late % self.other_length[k])
        return rounds * self.bars[k] + part, inside

    def start(self, k: Ints | int, bar: Ints) -> Ints:
        """Position at which a bar begins, from the first bar line."""
        rounds, part = np.divmod(bar, self.bars[k])
        first: Ints = rounds * self.period[k] + np.minimum(part, self.n[k]) * self.length[k]
        first += np.maximum(part - self.n[k], 0) * self.other_length[k]
        return first

    def codes(self, k: Ints | int, bar: Ints) -> Ints:
        """Time signature code of each bar, counted from the first bar line."""
        codes: Ints = np.where(bar % self.bars[k] < self.n[k], self.code[k], self.other[k])
        return codes


class BarTable:
    """Bars and time signatures of a piece.

    ``spans``: first position, number of the first bar and cycle of each run of bars; ``runs``: first position
    of each run of one time signature, where its first bar begins, and its cycle.
    """

    def __init__(self, spans: list[tuple[int, int, Cycle]], runs: list[tuple[int, int, Cycle]]) -> None:
        self._start, self._bar, self._cycles = _columns(spans)
        self._run_start, self._run_begin, self._run_cycles = _columns(runs)
        simple = (
            len(spans) == len(runs) == 1 and spans[0][:2] == runs[0][:2] == (0, 0) and self._cycles.simple
        )
        self._cycle = spans[0][2] if simple else None  # of a piece whose bars are all the same

    def bars(self, position: Ints) -> tuple[Ints, Ints]:
        """Bar of each position [shape=(n,), int64], and the place in it."""
        if self._cycle:
            return np.divmod(position, int(BAR_LENGTHS[self._cycle.code]))
        k = _run_of(self._start, position)
        bar, inside = self._cycles.place(k, position - self._start[k])
        return self._bar[k] + bar, inside

    def codes(self, position: Ints) -> Ints | int:
        """Time signature code at each position [shape=(n,), int64], or of all."""
        if self._cycle:
            return self._cycle.code
        k = _run_of(self._run_start, position)
        if self._run_cycles.simple:
            same: Ints = self._run_cycles.code[k] + np.zeros_like(position)
            return same
        bar, _ = self._run_cycles.place(k, np.maximum(position - self._run_begin[k], 0))
        return self._run_cycles.codes(k, bar)

    def start(self, bar: Ints) -> Ints:
        """First position of each bar [shape=(n,), int64]; the last time signature goes on for ever."""
        k = _run_of(self._bar, bar)
        first: Ints = self._start[k] + self._cycles.start(k, bar - self._bar[k])
        return first


def _columns(runs: list[tuple[int, int, Cycle]]) -> tuple[Ints, Ints, _Cycles]:
    starts, numbers, cycles = zip(*runs, strict=True)
    return np.array(starts, np.int64), np.array(numbers, np.int64), _Cycles(list(cycles))


def _run_of(starts: Ints, values: Ints) -> Ints | int:
    """Run that each value lies in; ``starts`` is ascending."""
    return 0 if len(starts) == 1 else np.searchsorted(starts, values, side="right") - 1


class _Run(NamedTuple):
    start: int
    metre: tuple[int, int]


def bar_table(score: Score, limit: int, policies: Policies) -> BarTable:
    """Lay out the bars, by the time signatures of the first `limit` positions.

    Raises `MidiError` (``unsupported-metre``, depending on the policies). A signature without any position is
    ignored.
    """
    if not any(score.metre_tick.tolist()):  # the last one of the first tick holds
        metre = COMMON_TIME
        if len(score.metre_tick):
            metre = int(score.metre_numerator[-1]), int(score.metre_denominator[-1])
        return _uniform(metre, policies)
    signatures = _runs(score, limit)
    spans: list[tuple[int, int, Cycle]] = []
    runs: list[tuple[int, int, Cycle]] = []
    begin = bar = 0  # where the next bar begins, and its number
    last = code = 0  # where the bar before begins, and its code
    for run, stop in zip(signatures, [*(later.start for later in signatures[1:]), limit], strict=True):
        cycle = _cycle(run.metre, policies)
        if begin > run.start and policies.mid_bar_metre == "error":
            raise MidiError(
                "unsupported-metre",
                f"the time signature changes inside a bar, to {run.metre[0]}/{run.metre[1]}",
                hint='choose --mid-bar-metre keep or split (in Python mid_bar_metre="keep")',
            )
        if begin > run.start and policies.mid_bar_metre == "split":
            cut = _code_of_length(run.start - last, code)
            runs.append((last, last, Cycle(cut, 1, cut, 0)))
            begin = run.start
        runs.append((run.start, begin, cycle))
        if begin >= stop:
            continue
        spans.append((begin, bar, cycle))
        whole, inside, code = _place(cycle, stop - begin - 1)
        last = stop - 1 - inside
        bar, begin = bar + whole + 1, last + int(BAR_LENGTHS[code])
    return BarTable(spans, runs)


def _place(cycle: Cycle, since: int) -> tuple[int, int, int]:
    """Bars before a position counted from the first bar line, the place in its bar, and the bar's code."""
    if cycle.n == 1 and not cycle.m:
        return *divmod(since, int(BAR_LENGTHS[cycle.code])), cycle.code
    bars = _Cycles([cycle])
    whole, inside = bars.place(0, np.array([since], np.int64))
    return int(whole[0]), int(inside[0]), int(bars.codes(0, whole)[0])


@lru_cache(maxsize=256)
def _uniform(metre: tuple[int, int], policies: Policies) -> BarTable:
    """Bars of a piece with one time signature from its beginning to its end."""
    cycle = _cycle(metre, policies)
    return BarTable([(0, 0, cycle)], [(0, 0, cycle)])


def _runs(score: Score, limit: int) -> list[_Run]:
    """Time signatures that rule at least one position below the limit, equal neighbours joined."""
    columns = (score.metre_tick, score.metre_numerator, score.metre_denominator)
    changes = sorted(zip(*(column.tolist() for column in columns), strict=True), key=itemgetter(0))
    at = positions([tick for tick, *_ in changes], score.ticks_per_beat).tolist()
    runs: list[_Run] = []
    for start, then, (_, *metre) in zip(at, [*at[1:], limit], changes, strict=True):
        if start >= min(then, limit):
            continue
        if not runs and start > 0:
            runs.append(_Run(0, COMMON_TIME))
        if not runs or runs[-1].metre != tuple(metre):
            runs.append(_Run(start, tuple(metre)))
    return runs or [_Run(0, COMMON_TIME)]


def _cycle(metre: tuple[int, int], policies: Policies) -> Cycle:
    """Bars that one bar of a signature becomes: one, or several where a long bar is split."""
    numerator, denominator = reduce_metre(*metre)
    code = metre_code(numerator, denominator)
    if code is None:
        code = _nearest(metre, policies)
    elif policies.long_metre == "split" and numerator == 1 and metre[0] > 2 * metre[1]:
        parts = -(-metre[0] // (2 * metre[1]))
        short, longer = divmod(metre[0], parts)
        ones = metre_code(short, metre[1])
        if ones is not None and longer:
            return Cycle(_must(metre_code(short + 1, metre[1])), longer, ones, parts - longer)
        if ones is not None:
            return Cycle(ones, parts, ones, 0)
    return Cycle(code, 1, code, 0)


def _nearest(metre: tuple[int, int], policies: Policies) -> int:
    """Code over 64 with the nearest bar length, or the error."""
    numerator, denominator = metre
    if policies.unsupported_metre == "error":
        raise MidiError(
            "unsupported-metre",
            f"the time signature {numerator}/{denominator} has no token",
            hint='choose --unsupported-metre nearest (in Python unsupported_metre="nearest")',
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
