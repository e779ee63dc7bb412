"""The time from chord to chord at a steady tempo, from a recording alone.

A recording has no note values. They are estimated with the tempo they imply: each interval (seconds, log2)
is a note value times a unit that changes slowly. The most probable sequence of both is found by dynamic
programming (Viterbi) over a grid of units; deviations of an interval and steps of the unit are normal, and
simple note values cost least. At a steady tempo, an interval is its note value times the mean unit around it
(`WINDOW`), so that real changes of tempo in a long piece stay.

Rhythms that the values do not hold (quintuplets, free ornaments) are taken for deviations.
"""

import numpy as np

from musicbert.arrays import Floats, Ints

#: note values over the unit, with what each costs
VALUES: dict[float, float] = {
    1.0: 0.0, 2.0: 0.6, 0.5: 0.6, 3.0: 1.2, 4.0: 1.2, 0.25: 1.2, 1 / 3: 1.6, 1.5: 1.6, 2 / 3: 2.0,
    6.0: 2.0, 0.75: 2.2, 8.0: 2.4, 1 / 6: 2.6, 0.125: 2.6, 16.0: 3.2,
}  # fmt: skip
#: deviation of an interval, and step of the unit from chord to chord (log2)
DEVIATION, STEP = 0.12, 0.05
#: grid of units (log2): width of a step, reach on each side of the median interval
GRID, REACH = 1 / 24, 1.5
#: largest step of the unit, in steps of the grid
FURTHEST = 6
#: a deviation costs no more than this: one wild interval does not move the tempo
MOST = 8.0
#: seconds over which the tempo of a long piece is steady
WINDOW = 60.0


def note_values(interval: Floats) -> Floats:
    """Estimate the note value of each interval (log2 seconds), up to one common factor [shape=(k,)]."""
    if len(interval) == 0:
        return np.zeros(0)
    values, prior = np.log2(list(VALUES)), np.array(list(VALUES.values()))
    reach = round(REACH / GRID)
    unit = np.median(interval) + GRID * np.arange(-reach, reach + 1)
    apart = (interval[:, None, None] - values[:, None] - unit) / DEVIATION
    cost = np.minimum(0.5 * apart**2, MOST) + prior[:, None]  # (k, values, units)
    choice, cost = cost.argmin(1), cost.min(1)
    shifts = np.arange(-FURTHEST, FURTHEST + 1)
    penalty = 0.5 * (shifts * GRID / STEP) ** 2
    index = np.arange(len(unit))[None] - shifts[:, None]  # unit before, for each shift
    valid = (index >= 0) & (index < len(unit))
    index = np.clip(index, 0, len(unit) - 1)
    came: Ints = np.zeros((len(interval), len(unit)), np.int64)
    total = cost[0]
    for k in range(1, len(interval)):
        ways = np.where(valid, total[index] + penalty[:, None], np.inf)
        best = ways.argmin(0)
        came[k] = index[best, np.arange(len(unit))]
        total = ways[best, np.arange(len(unit))] + cost[k]
    path = np.zeros(len(interval), np.int64)
    path[-1] = total.argmin()
    for k in range(len(interval) - 1, 0, -1):
        path[k - 1] = came[k, path[k]]
    return np.exp2(values[choice[np.arange(len(interval)), path]])


def neutral_intervals(interval: Floats) -> Floats:
    """Intervals (log2 seconds) at a steady tempo, of the same length together [shape=(k,)]."""
    if len(interval) == 0:
        return np.zeros(0)
    value, seconds = note_values(interval), np.exp2(interval)
    ends = np.r_[0.0, np.cumsum(seconds)]
    middle = (ends[:-1] + ends[1:]) / 2
    start = np.clip(middle - WINDOW / 2, 0.0, max(ends[-1] - WINDOW, 0.0))
    beats = np.r_[0.0, np.cumsum(value)]
    stop = np.minimum(start + WINDOW, ends[-1])
    unit = (stop - start) / (np.interp(stop, ends, beats) - np.interp(start, ends, beats))
    steady = value * unit
    return np.log2(steady * seconds.sum() / steady.sum())
