"""How labels are made (`LabelOptions`), and what that kept and dropped (`LabelReport`).

Verified in ``tests/unit/annotation/test_labels.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from musicbert.errors import RatingError

__all__ = ["Kind", "LabelOptions", "LabelReport", "Zeros"]

Kind = Literal["apex", "mean", "median", "stdev", "all"]
Zeros = Literal["row", "cell"]


@dataclass(frozen=True)
class LabelOptions:
    """How to make labels; the defaults are the published ones.

    Attributes
    ----------
    label
        ``apex``, ``mean``, ``median``, ``stdev`` or ``all`` (see `musicbert.annotation.rating_rows`).
    columns
        Set of columns or own list; ``None`` is ``full`` for ``all`` and ``published`` otherwise.
    zeros
        ``row`` or ``cell`` (see `musicbert.annotation.labels`).
    min_raters
        Fewest ratings: of a segment for ``row``, of a label for ``cell``.
    drop_high_stdev
        Drop segments with several raters whose standard deviations of the first six dimensions add up to more
        than the sum of the 75th percentiles.
    center_raters
        Subtract each rater's own mean of each question.
    classes
        Performer classes in order of first ``appearance`` (published) or ``sorted``.
    merge_scores
        PercePiano's merged map: 13 ``Score`` segments count as ``Score2``.
    """

    label: Kind = "apex"
    columns: str | Sequence[str] | None = None
    zeros: Zeros = "row"
    min_raters: int = 1
    drop_high_stdev: bool = False
    center_raters: bool = False
    classes: Literal["appearance", "sorted"] = "appearance"
    merge_scores: bool = False

    def __post_init__(self) -> None:
        if self.label not in get_args(Kind):
            raise RatingError(
                "bad-option", f"there is no label {self.label!r}", hint=", ".join(get_args(Kind))
            )
        if self.zeros not in get_args(Zeros):
            raise RatingError("bad-option", f"there is no rule {self.zeros!r} for zeros", hint="row or cell")
        if self.min_raters < 1:
            raise RatingError("bad-option", "at least one rater is needed", hint="--min-raters 1 or more")
        if self.label == "all" and (self.drop_high_stdev or self.center_raters):
            raise RatingError("bad-option", "label 'all' keeps every rating as it is", hint="drop the filter")


@dataclass
class LabelReport:
    """What was kept and what was dropped, and why."""

    rows: int = 0
    segments: int = 0
    labelled: int = 0
    rows_dropped: dict[str, int] = field(default_factory=dict)
    segments_dropped: dict[str, int] = field(default_factory=dict)
    cells_masked: int = 0

    def summary(self) -> str:
        """One line for people."""
        kept = self.rows - sum(self.rows_dropped.values())
        parts = [f"{self.labelled} of {self.segments} segments labelled from {kept} of {self.rows} rows"]
        dropped = [f"{n} rows: {why}" for why, n in self.rows_dropped.items() if n]
        dropped += [f"{n} segments: {why}" for why, n in self.segments_dropped.items() if n]
        parts.append(f"dropped {', '.join(dropped)}" if dropped else "dropped nothing")
        if self.cells_masked:
            parts.append(f"{self.cells_masked} unanswered cells masked")
        return "; ".join(parts)
