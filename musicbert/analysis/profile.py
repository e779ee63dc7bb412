"""The profile of a piece: its passages rated, their mean with ranges, what is left out and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from musicbert.analysis.applicability import FEWEST_NOTES, FEWEST_SECONDS, Reason, reasons_against
from musicbert.analysis.model import ProfileModel
from musicbert.analysis.passages import Passage, passages, played
from musicbert.arrays import Floats
from musicbert.midi.score import Score

#: share of the music (in seconds) that has to be like the training performances
LIKE = 0.5
#: said in every report
MEANING = (
    "This is how listeners heard professional performances: it describes the playing, "
    "and does not judge how good a pianist is."
)


@dataclass(frozen=True)
class Dimension:
    """One question: ``low`` and ``high`` are what the ends of the scale mean.

    ``value`` is 0-1 (the rating over the highest one), ``rating`` on the scale of the raters. ``interval``
    holds the mean rating of listeners for a share ``coverage`` of unknown music, None where this is not
    known; ``percentile``: per cent of the rated performances with a lower value; ``r2`` on music that
    training did not hold, with its 95 % interval; ``trained``: range of the training labels (0-1).
    ``scale``: lowest and highest rating, and the rating whose value is 0.
    """

    name: str
    area: str
    low: str
    high: str
    value: float
    rating: float | None = None
    interval: tuple[float, float] | None = None
    coverage: float | None = None
    percentile: float | None = None
    r2: tuple[float, float, float] | None = None
    trained: tuple[float, float] | None = None
    scale: tuple[float, float, float] | None = None

    def rated(self, value: float) -> float:
        """Return a value as a rating on the scale; the value itself where there is no scale."""
        if self.scale is None:
            return value
        _, highest, zero = self.scale
        return zero + value * (highest - zero)


@dataclass(frozen=True)
class Part:
    """A passage of the music: from ``start`` to ``end`` (seconds, and ticks of the file).

    ``values`` in the order of the dimensions, None with a ``reason`` where it was not rated.
    """

    start: float
    end: float
    start_tick: int
    end_tick: int
    notes: int
    values: tuple[float, ...] | None
    reason: str = ""


@dataclass(frozen=True)
class Profile:
    """Ratings of a piece, as a model predicts them."""

    model: str
    dimensions: tuple[Dimension, ...]
    parts: tuple[Part, ...] = ()
    scale: tuple[float, float] | None = None
    meaning: str = MEANING
    not_shown: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def values(self) -> dict[str, float]:
        """Value of each dimension by its name."""
        return {each.name: each.value for each in self.dimensions}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "model": self.model,
            "meaning": self.meaning,
            "scale": None if self.scale is None else list(self.scale),
            "dimensions": [dict(vars(each)) for each in self.dimensions],
            "passages": [dict(vars(each)) for each in self.parts],
            "not_shown": [{"name": name, "r2": r2} for name, r2 in self.not_shown],
            "notes": list(self.notes),
        }


def make_profile(
    score: Score, model: ProfileModel, *, coverage: float = 0.8
) -> tuple[Profile | None, tuple[Reason, ...]]:
    """Rate the passages of a piece; a profile, or the reasons why there is none.

    ``coverage``: level of the ranges, one of the model's.
    """
    if found := reasons_against(score):
        return None, tuple(found)
    cut = passages(score)
    rated = [
        part for part in cut if len(part.notes) >= FEWEST_NOTES and part.end - part.start >= FEWEST_SECONDS
    ]
    if not rated:
        longest = max(cut, key=lambda part: len(part.notes))
        text = (
            f"Between pauses it has at most {len(longest.notes)} notes in "
            f"{longest.end - longest.start:.1f} s; rated passages have "
            f"at least {FEWEST_NOTES} notes and last {FEWEST_SECONDS:g} s."
        )
        return None, (Reason("few-notes", text, "notes", float(len(longest.notes)), FEWEST_NOTES),)
    result = model.rate([played(score, part) for part in rated])
    far = float(model.about["distance"]["far"])
    length = np.array([part.end - part.start for part in rated])
    like = result.distance <= far
    share = float(length[like].sum() / length.sum())
    if share < LIKE:
        distance = float(np.median(result.distance))
        whole = model.about["distance"]["quantile"]
        text = (
            f"Its playing is unlike the rated performances: {1 - share:.0%} of it lies further from "
            f"all of them ({distance:.2f}) than "
            f"{whole:.0%} of performances that the model did not know ({far:.2f})."
        )
        return None, (Reason("unlike-training", text, "distance", round(distance, 4), round(far, 4)),)
    weight = length * like / length[like].sum()
    shown = [k for k, each in enumerate(model.about["dimensions"]) if each["shown"]]
    value = weight @ result.values
    low, high = model.ranges.around(value[None], coverage, np.array([weight @ model.spread(result.distance)]))
    percentile = model.percentile(value)
    top = float(model.about["scale"][1])
    dimensions = []
    for k in shown:
        each = model.about["dimensions"][k]
        scores = min(each["r2"].values(), key=lambda score: score["value"])
        dimensions.append(
            Dimension(
                name=each["name"], area=each["area"], low=each["low"], high=each["high"],
                value=float(value[k]), rating=float(top * value[k]),
                interval=(float(low[0, k]), float(high[0, k])),
                coverage=coverage, percentile=float(percentile[k]),
                r2=(scores["value"], scores["low"], scores["high"]),
                scale=(float(model.about["scale"][0]), top, 0.0),
            )
        )  # fmt: skip
    parts = _parts(score, cut, rated, result.values[:, shown], like)
    hidden = [each for each in model.about["dimensions"] if not each["shown"]]
    notes = [_training(model)]
    if not like.all():
        notes.append(f"{1 - share:.0%} of the music is unlike the rated performances and was left out.")
    if len(rated) > 1:
        notes.append(
            f"The values are means of {int(like.sum())} passages of the length that listeners heard; a "
            "passage alone may differ."
        )
    profile = Profile(
        model=str(model.about["name"]),
        dimensions=tuple(dimensions),
        parts=parts,
        scale=(float(model.about["scale"][0]), top),
        not_shown=tuple((each["name"], min(s["value"] for s in each["r2"].values())) for each in hidden),
        notes=tuple(notes),
    )
    return profile, ()


def _training(model: ProfileModel) -> str:
    works = sorted({piece.rpartition("_")[0] for piece in model.about["pieces"]})
    return (
        f"Ranges were measured on unknown passages of the works that were rated "
        f"({', '.join(w.replace('_', ' ') for w in works)}); for "
        "other music they may be too narrow."
    )


def _parts(
    score: Score, cut: Sequence[Passage], rated: Sequence[Passage], values: Floats, like: np.ndarray
) -> tuple[Part, ...]:
    number = {id(part): k for k, part in enumerate(rated)}
    result = []
    for part in cut:
        start_tick, end_tick = int(score.onset[part.notes].min()), int(score.offset[part.notes].max())
        k = number.get(id(part))
        reason = "too short" if k is None else "" if like[k] else "unlike the rated performances"
        shown = None if k is None or reason else tuple(map(float, values[k]))
        result.append(Part(part.start, part.end, start_tick, end_tick, len(part.notes), shown, reason))
    return tuple(result)
