"""Studies of ratings, each an entry of `RATING_SETS`: questions with both poles, scale, columns, segments.

A rating is 1..7 on a scale between two poles, and a label is that number divided by 7. **The published name
of an XAI-music dimension is its LOW pole**: a low "Convincing" means convincing, a high one means doubtful.
Tests hold the direction against the music (tempo, loudness, pedal: ``tests/parity/test_label_poles.py``).

Names are spelt exactly as published ("HIgh Energy", "Intensional"). The high poles of the questions that
PercePiano also asks (Park et al. 2024, Scientific Reports 14:23002) are its wording; those of "Mechanical
Tempo", "Intensional", "Regular beat change", "Subtle change", "Flowing", "Swing(Flexible)", "Harmonious",
"Dominant(forceful)" and "Ethereal" are nowhere documented and are this package's wording.

Two published sets are both "25 dimensions" and must never be mixed: ``published`` (questions 3..27) and
``mnskim`` (question 0 and questions 4..27).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from musicbert.arrays import Floats
from musicbert.errors import RatingError

#: name of a set of ratings, which says how its tables are read: ``xai``, ``percepiano``
Format = str


@dataclass(frozen=True, slots=True)
class Dimension:
    """One question: published name, what a rating of 1 (``low``) and of 7 (``high``) means, and its column.

    The column is empty where the dimension does not come from a table.
    """

    name: str
    low: str
    high: str
    column: str = ""

    @property
    def poles(self) -> str:
        """Both poles, low first, for tables and pictures."""
        return f"{self.low} – {self.high}"


def _dimension(question: str, name: str, low: str, high: str) -> Dimension:
    return Dimension(name=name, low=low, high=high, column=f"Question_{question}")


#: The 28 questions of XAI-music in column order.
XAI: tuple[Dimension, ...] = (
    _dimension("1_1_1", "Stable beat", "stable beat", "unstable beat"),
    _dimension("1_2_1", "Mechanical Tempo", "mechanical tempo", "organic tempo"),
    _dimension("1_2_2", "Intensional", "intentional", "unintentional"),
    _dimension("1_3_1", "Regular beat change", "regular beat change", "irregular beat change"),
    _dimension("2_1_1", "Long", "long", "short"),
    _dimension("2_2_1", "Cushioned", "soft (cushioned)", "hard (solid)"),
    _dimension("3_1_1", "Saturated (wet)", "saturated (wet)", "sparse (dry)"),
    _dimension("3_2_1", "Clean", "clean", "blurred"),
    _dimension("3_3_1", "Subtle change", "subtle change", "obvious change"),
    _dimension("4_1_1", "Even", "even", "colorful"),
    _dimension("4_2_1", "Rich", "rich", "shallow"),
    _dimension("4_3_1", "Bright", "bright", "dark"),
    _dimension("5_1_1", "Pure", "pure", "dramatic (expressive)"),
    _dimension("5_2_1", "Soft", "soft", "loud"),
    _dimension("5_3_1", "Sophisticated(mellow)", "sophisticated (mellow)", "raw (crude)"),
    _dimension("5_4_1", "balanced", "balanced", "disproportioned"),
    _dimension("5_5_1", "Large range of dynamic", "large dynamic range", "little dynamic range"),
    _dimension("6_1_1", "Fast paced", "fast paced", "slow paced"),
    _dimension("6_2_1", "Flowing", "flowing", "halting"),
    _dimension("6_3_1", "Swing(Flexible)", "swing (flexible)", "rigid"),
    _dimension("6_4_1", "Flat", "flat", "spacious"),
    _dimension("6_5_1", "Harmonious", "harmonious", "inharmonious"),
    _dimension("7_1_1", "Optimistic(pleasant)", "optimistic (pleasant)", "dark"),
    _dimension("7_2_1", "HIgh Energy", "high energy", "low energy"),
    _dimension("7_3_1", "Dominant(forceful)", "dominant (forceful)", "submissive"),
    _dimension("8_1_1", "Imaginative", "imaginative", "honest"),
    _dimension("8_2_1", "Ethereal", "ethereal", "mundane"),
    _dimension("9_1_1", "Convincing", "convincing", "unsatisfactory (doubtful)"),
)

#: PercePiano's 19 dimensions in published order.
PERCEPIANO: tuple[Dimension, ...] = (
    _dimension("1_1_1", "Timing Stable - Unstable", "stable", "unstable"),
    _dimension("2_1_1", "Articulation Short - Long", "short", "long"),
    _dimension("2_2_1", "Articulation Soft - Hard", "soft (cushioned)", "hard (solid)"),
    _dimension("3_1_1", "Pedal Sparse - Saturated", "sparse (dry)", "saturated (wet)"),
    _dimension("3_2_1", "Pedal Clean - Blurred", "clean", "blurred"),
    _dimension("4_1_1", "Timbre Even - Colorful", "even", "colorful"),
    _dimension("4_2_1", "Timbre Shallow - Rich", "shallow", "rich"),
    _dimension("4_3_1", "Timbre Bright - Dark", "bright", "dark"),
    _dimension("4_4_1_5_2_1", "Timbre Soft - Loud", "soft", "loud"),
    _dimension("5_3_1", "Dynamic Sophisticated - Raw", "sophisticated (mellow)", "raw (crude)"),
    _dimension("5_5_1", "Dynamic Little - Large range", "little dynamic range", "large dynamic range"),
    _dimension("6_1_1", "Music making Fast - Slow paced", "fast paced", "slow paced"),
    _dimension("6_4_1", "Music making Flat - Spacious", "flat", "spacious"),
    _dimension("6_5_1_5_4_1", "Music making Disproportioned - Balanced", "disproportioned", "balanced"),
    _dimension("6_6_1_5_1_1", "Music making Pure - Dramatic", "pure", "dramatic (expressive)"),
    _dimension("7_1_1", "Emotion Optimistic - Dark", "optimistic (pleasant)", "dark"),
    _dimension("7_2_1", "Emotion Low - High energy", "low energy", "high energy"),
    _dimension("8_1_1", "Emotion Honest - Imaginative", "honest", "imaginative"),
    _dimension(
        "9_1_1", "Interpretation Unsatisfactory - Convincing", "unsatisfactory (doubtful)", "convincing"
    ),
)

#: PercePiano columns that turn XAI-music's scale round (x -> 8 - x, and so "don't know" 0 -> 8).
PERCEPIANO_REVERSED: frozenset[str] = frozenset(
    f"Question_{question}"
    for question in ("2_1_1", "3_1_1", "4_2_1", "5_5_1", "6_5_1_5_4_1", "7_2_1", "8_1_1", "9_1_1")
)

#: Indices of the XAI questions that PercePiano also asks, in PercePiano's order.
_SHARED_WITH_PERCEPIANO = (0, 4, 5, 6, 7, 9, 10, 11, 13, 14, 16, 17, 20, 15, 12, 22, 23, 25, 27)
#: Questions of the published ``rm_bad`` variant: 28 without seven unreliable ones and without the next three.
_RM_BAD = (4, 5, 6, 7, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 22, 23, 26, 27)

#: ``<piece>_<bars>bars_<performer>_<number>``, and ``(1)`` for a copy
SEGMENT_NAME = re.compile(
    r"(?P<piece>.+)_(?P<bars>\d+)bars_(?P<performer>[^_]+)_(?P<number>\d+)(?:\((?P<copy>\d+)\))?"
)


@dataclass(frozen=True)
class RatingSet:
    """A study of ratings: its questions, its scale, the columns of its tables, the names of its segments.

    Attributes
    ----------
    name
        Name of the table format.
    columns
        Sets of dimensions by name; ``full`` (all questions, in the order of the labels) and ``published``.
    marker
        Column that tables of this study have beside its keys and questions, if any.
    keys
        Columns of the annotator, of the number of the recording, and of its file.
    scale
        Lowest and highest rating.
    zero
        Rating whose label is 0; the label of the highest is 1. Published labels are ratings divided by the
        highest (0); those of own studies span the scale (its lowest rating).
    no_answer
        Numbers outside the scale that mean "don't know".
    unanswered
        What ``zeros="row"`` does with a missing answer: leave out the whole ``row``, or mask the ``cell``.
    repeated
        Whether rows that occur twice are an ``error``, or published labels ``keep`` them.
    segment
        Names of segments: a pattern with the groups ``piece``, ``performer``, ``number`` and, where the names
        hold them, ``bars`` and ``copy``.
    """

    name: str
    columns: Mapping[str, tuple[Dimension, ...]]
    marker: str = ""
    keys: tuple[str, str, str] = ("user", "dataID", "filename")
    scale: tuple[float, float] = (1, 7)
    zero: float = 0.0
    no_answer: frozenset[float] = frozenset({0.0})
    unanswered: Literal["row", "cell"] = "cell"
    repeated: Literal["error", "keep"] = "error"
    segment: re.Pattern[str] = SEGMENT_NAME

    def label(self, ratings: Floats) -> Floats:
        """Labels [0-1] of ratings: ``(rating - zero) / (highest - zero)``."""
        return np.asarray((ratings - self.zero) / (self.scale[1] - self.zero))

    def recognises(self, header: Sequence[str]) -> bool:
        """Whether a table has all columns of this study."""
        questions = (dimension.column for dimension in self.columns["full"])
        return {*self.keys, *questions, *filter(None, [self.marker])} <= set(header)


#: Sets of ratings by name: a new study is one more entry.
RATING_SETS: dict[Format, RatingSet] = {
    "xai": RatingSet(
        "xai",
        {
            "published": XAI[3:],
            "snu": XAI[3:],
            "mnskim": (XAI[0], *XAI[4:]),
            "full": XAI,
            "rm-bad": tuple(XAI[i] for i in _RM_BAD),
            "percepiano": tuple(XAI[i] for i in _SHARED_WITH_PERCEPIANO),
        },
        unanswered="row",
    ),
    "percepiano": RatingSet(
        "percepiano",
        {"published": PERCEPIANO, "full": PERCEPIANO, "percepiano": PERCEPIANO},
        marker="Question_4_4_1_5_2_1",
        no_answer=frozenset({0.0, 8.0, 9.0}),  # reversed questions show 0 as 8; one row holds 9s
        repeated="keep",
    ),
}


def register_rating_set(ratings: RatingSet) -> None:
    """Add a study of ratings that is defined outside this package."""
    RATING_SETS[ratings.name] = ratings


def rating_set(header: Sequence[str], preset: str | None = None) -> RatingSet:
    """Study of a table by all columns of its header, or the one that is named.

    Raises `RatingError`: ``wrong-columns`` for a table of no known study, ``bad-option``.
    """
    if preset is not None:
        if preset not in RATING_SETS:
            raise RatingError("bad-option", f"there is no preset {preset!r}", hint=", ".join(RATING_SETS))
        return RATING_SETS[preset]
    recognised = next((study for study in RATING_SETS.values() if study.recognises(header)), None)
    if recognised is None:
        raise RatingError(
            "wrong-columns",
            f"the table is not one of the published formats: it has {', '.join(header[:6])} ...",
            hint="your own study: --scale 1 9 --rater-column NAME --file-column NAME (docs/own-study.md); "
            f"a part of a published table: --preset {' or '.join(RATING_SETS)}",
        )
    return recognised


def rating_scale(source: Mapping[str, Any]) -> RatingSet:
    """Scale of the study that labels come from: as their ``source`` says, or that of its ``format``."""
    if "scale" in source:
        return RatingSet("", {}, scale=tuple(source["scale"]), zero=source.get("zero", 0.0))
    return RATING_SETS.get(str(source.get("format")), RATING_SETS["xai"])


def scale_in_words(source: Mapping[str, Any]) -> str:
    """What a label means, for side files and reports."""
    study = rating_scale(source)
    lowest, highest = study.scale
    if not study.zero:
        return f"labels are ratings / {highest:g}; low values mean the low pole"
    return (
        f"labels are (rating {'-+'[study.zero < 0]} {abs(study.zero):g}) / {highest - study.zero:g} "
        f"on a scale from {lowest:g} (low pole) to {highest:g} (high pole); low values mean the low pole"
    )


def resolve_columns(columns: str | Sequence[str], study: RatingSet | Format = "xai") -> tuple[Dimension, ...]:
    """Dimensions of a named set, of a comma-separated list, or of a sequence.

    A member of a list is a column (``Question_2_1_1`` or ``2_1_1``) or the name of a dimension, in any case.

    Raises `RatingError`: ``unknown-column``: no such set or question; ``duplicate-column``: named twice;
    ``empty-list``.
    """
    study = RATING_SETS[study] if isinstance(study, str) else study
    sets = study.columns
    if isinstance(columns, str):
        if columns in sets:
            return sets[columns]
        columns = columns.split(",")
    known: dict[str, Dimension] = {}
    for dimension in sets["full"]:
        for key in (dimension.column, dimension.column.removeprefix("Question_"), dimension.name):
            known[key.casefold()] = dimension
    chosen: list[Dimension] = []
    for column in (name.strip() for name in columns):
        if not column:
            continue
        if column.casefold() not in known:
            raise RatingError(
                "unknown-column",
                f"{column!r} is neither a set of columns nor a question of the {study.name} table",
                hint=f"sets: {', '.join(sets)}; or list questions such as {sets['full'][0].name!r}",
            )
        chosen.append(known[column.casefold()])
    if len(set(chosen)) != len(chosen):
        raise RatingError("duplicate-column", "a question is listed twice", hint="name each question once")
    if not chosen:
        raise RatingError("empty-list", "the list of columns is empty", hint=f"sets: {', '.join(sets)}")
    return tuple(chosen)


def unnamed(width: int) -> tuple[Dimension, ...]:
    """Placeholders for a label map that nothing describes."""
    return tuple(Dimension(name=f"dimension {i}", low="low", high="high") for i in range(width))
