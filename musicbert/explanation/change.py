"""The smallest change of the playing that moves a prediction by a given amount.

Strengths of factors (`playing_factors`) change between 0 (neutral) and `STRONGEST`; the size of a change is
the root of the sum of squares of what is added to them. Tried are the direction in which the prediction rises
fastest (its slope, by differences), each factor alone, and the pair of the two steepest. The first point on
each that moves the prediction far enough is narrowed by halving, and factors that are not needed are left
out. So the result is the smallest of these, not of all. Where none moves it far enough, the one that moves
it farthest is the result, and says so; so is the farthest part of the way that is like real performances.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicbert.arrays import Floats
from musicbert.explanation.plausibility import unlike
from musicbert.explanation.playing_factors import (
    FACTORS,
    STRONGEST,
    Coordinates,
    coordinates,
    with_strengths,
)
from musicbert.explanation.target import Target
from musicbert.midi import Score

#: strengths at which slopes are measured, on both sides of 1; points of a line; halvings
PROBE, POINTS, HALVINGS = 0.2, 10, 4
#: a factor that adds less than this to the size is left out
SMALL = 0.02
#: a change that goes less than this share of the way is not worth hearing
WORTHWHILE = 0.25


@dataclass(frozen=True, eq=False)
class Change:
    """A change of the playing for one dimension, or why there is none.

    ``up``: whether the prediction is to rise; ``amount``: how far; ``strengths``: factor -> strength (those
    that change), and ``levels`` of tempo and loudness in words; ``before``, ``after``: predictions;
    ``measures``: how like real performances the changed music is, with ``real``, the ranges of these and of
    the music as it was; ``score``: the changed music, None with a ``reason``; ``reached``: whether it moves
    the prediction as far as asked, else it is the change that moves it farthest; ``ended``: why not
    farther, where the whole way leads to music unlike real performances; ``scale``: by what numbers are
    multiplied in words.
    """

    name: str
    towards: str
    up: bool
    amount: float
    before: float
    after: float
    strengths: dict[str, float]
    levels: dict[str, str]
    measures: Mapping[str, float] | None
    real: Mapping[str, tuple[float, float]] | None
    score: Score | None
    reason: str = ""
    reached: bool = True
    ended: str = ""
    scale: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the music."""
        return {name: value for name, value in vars(self).items() if name not in ("score", "scale")}

    def __str__(self) -> str:
        """Return the change in words."""
        before, after, amount = (self.scale * each for each in (self.before, self.after, self.amount))
        if not self.strengths:
            return f"{amount:.2f} more {self.towards}: {self.reason}"
        how = ", ".join(
            self.levels.get(name, f"{name} at {100 * v:.0f} %") for name, v in self.strengths.items()
        )
        text = f"{before:.2f} to {after:.2f}, more {self.towards}: {how}"
        if not self.reached:
            why = f": farther on, {self.ended}" if self.ended else ", which nothing that was tried reaches"
            text += f"; less than the {amount:.2f} asked for{why}"
        return f"{text}; refused: {self.reason}" if self.reason else text


def smallest_change(
    target: Target,
    dimension: int,
    score: Score,
    amount: float,
    *,
    up: bool,
    factors: Sequence[str] = FACTORS,
    judge: Callable[[Score], Mapping[str, float]] | None = None,
    real: Mapping[str, tuple[float, float]] | None = None,
    passages: Sequence[tuple[float, Score]] | None = None,
) -> Change:
    """Find the smallest change that moves a dimension by an amount.

    ``up``: whether it is to rise; ``factors``: those that may change; ``judge``, ``real``: measures of
    the changed music and their ranges for real performances, outside of which, and of what the music
    as it was has, the change is refused;
    ``passages``: parts of the score with their weights, of which the prediction and the measures are weighted
    means (default: the whole score).
    """
    parts, sign = coordinates(score), 1.0 if up else -1.0
    weights, judged = zip(*(passages or [(1.0, score)]), strict=True)
    played = [coordinates(each) for each in judged] if passages else [parts]
    one = np.ones(len(factors))

    def mean(scores: Sequence[Score]) -> Floats:
        """Prediction of performances [shape=(m,)], each given by all of its passages in turn."""
        values = target.scores(scores)[:, dimension].reshape(-1, len(weights))
        return np.asarray(values @ np.array(weights))

    def gained(points: Floats) -> Floats:
        """How far points [shape=(m, k)] move the prediction in the direction that is wanted."""
        named = [dict(zip(factors, row.tolist(), strict=True)) for row in points]
        made = [with_strengths(part, strengths) for strengths in named for part in played]
        return np.asarray(sign * (mean(made) - before))

    before = float(mean(judged)[0])
    steps = PROBE * np.eye(len(factors))
    slope = (gained(one + steps) - gained(one - steps)) / (2 * PROBE)
    best, farthest, most = None, 0.0, one
    for line in _lines(slope):
        reach = _reach(line)
        far = reach * np.arange(1, POINTS + 1) / POINTS
        values = gained(_points(line, far))
        if values.max() > farthest:
            farthest, most = float(values.max()), _points(line, far)[values.argmax()]
        enough = np.flatnonzero(values >= amount)
        if not len(enough):
            continue
        high = float(far[enough[0]])
        low = high - reach / POINTS
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (
                (low, middle) if gained(_points(line, np.array([middle])))[0] >= amount else (middle, high)
            )
        if best is None or high < float(np.linalg.norm(best - one)):
            best = _points(line, np.array([high]))[0]
    low_pole, high_pole = target.poles[dimension]
    towards = (high_pole if up else low_pole) or f"{target.names[dimension]} {'up' if up else 'down'}"
    common = {
        "name": target.names[dimension],
        "towards": towards,
        "up": up,
        "amount": amount,
        "before": before,
    }
    reached = best is not None
    if best is None and farthest < WORTHWHILE * amount:
        reason = (
            f"no change that was tried moves it so far (at most {100 * farthest / amount:.0f} % of the way)"
        )
        return Change(
            **common, after=before, strengths={}, levels={}, measures=None, real=real, score=None,
            reason=reason, reached=False,
        )  # fmt: skip
    best, enough = (most, farthest) if best is None else (best, amount)
    for k in np.argsort(np.abs(best - one)):  # what is not needed stays as played
        without = np.where(np.arange(len(one)) == k, 1.0, best)
        if abs(best[k] - 1) < SMALL or gained(without[None])[0] >= enough:
            best = without

    def made(point: Floats) -> tuple[dict[str, float], list[Score]]:
        strengths = {n: round(float(v), 3) for n, v in zip(factors, point, strict=True) if v != 1}
        return strengths, [with_strengths(part, strengths) for part in played]

    found, reason, ended = None, "", ""
    if judge is not None:
        own, found = (_judged(judge, weights, each) for each in (judged, made(best)[1]))
        real = {n: (min(low, own[n]), max(high, own[n])) for n, (low, high) in (real or {}).items()}
        reason = unlike(found, real)
        if reason:  # the farthest part of the way where it is still like them
            part, beyond = 0.0, 1.0
            for _ in range(HALVINGS):
                middle = (part + beyond) / 2
                there = _judged(judge, weights, made(one + middle * (best - one))[1])
                part, beyond, found = (
                    (part, middle, found) if unlike(there, real) else (middle, beyond, there)
                )
            nearer = one + part * (best - one)
            if part and gained(nearer[None])[0] >= WORTHWHILE * amount:
                best, reached, ended, reason = nearer, False, reason, ""
    strengths, pieces = made(best)
    changed = with_strengths(parts, strengths)
    after = float(mean(pieces)[0])
    return Change(
        **common,
        after=after,
        strengths=strengths,
        levels=_levels(parts, coordinates(changed)),
        measures=found,
        real=real,
        score=None if reason else changed,
        reason=reason,
        reached=reached,
        ended=ended,
    )


def _judged(
    judge: Callable[[Score], Mapping[str, float]], weights: Sequence[float], parts: Sequence[Score]
) -> dict[str, float]:
    """Weighted means of the measures of parts."""
    found = [judge(each) for each in parts]
    return {name: float(np.dot(weights, [each[name] for each in found])) for name in found[0]}


def _levels(before: Coordinates, after: Coordinates) -> dict[str, str]:
    """Factors that are levels, in words: how much faster and louder the changed music is."""
    return {
        "tempo": f"tempo at {100 * after.pace / before.pace:.0f} %",
        "loudness": f"velocities {after.level - before.level:+.0f}",
    }


def _lines(slope: Floats) -> list[Floats]:
    """Directions of length 1 that are tried [each shape=(k,)]."""
    lines = [*np.eye(len(slope)), *-np.eye(len(slope))]
    if np.any(slope):
        lines.append(slope / np.linalg.norm(slope))
        pair = np.where(np.abs(slope) >= np.sort(np.abs(slope))[-2:].min(), slope, 0.0)
        lines.append(pair / np.linalg.norm(pair))
    return [np.asarray(line) for line in lines]


def _points(line: Floats, far: Floats) -> Floats:
    """Strengths at distances along a line from all ones [shape=(m, k)], without errors of rounding."""
    return np.clip(np.round(1 + far[:, None] * line, 9), 0, STRONGEST)


def _reach(line: Floats) -> float:
    """How far a line from all ones stays within the strengths that are allowed."""
    room = np.where(line > 0, STRONGEST - 1, 1.0)
    return float(np.min(room[line != 0] / np.abs(line[line != 0])))
