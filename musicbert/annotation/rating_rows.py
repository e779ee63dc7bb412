"""Every rating of every segment (label ``all``): the published ``midi_label_map.json``.

``{id: [[q ratings / 7], ...]}``, one inner list for each row of the table, nothing filtered. The published
file writes 0.0 where there is no answer; so does ``zeros="row"``. With ``zeros="cell"`` it is ``null``.

Verified in ``tests/unit/annotation/test_labels.py``.
"""

from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from musicbert.annotation.dimensions import Dimension, resolve_columns, scale_in_words
from musicbert.annotation.files import reserve, save_table
from musicbert.annotation.labels import source_of
from musicbert.annotation.selection import LabelOptions, LabelReport
from musicbert.annotation.table import RatingTable
from musicbert.arrays import Floats
from musicbert.errors import RatingError


@dataclass(frozen=True, eq=False)
class RatingRows:
    """All ratings by segment, in order of first appearance.

    ``rows``: ratings of each segment [shape=(raters, d), float64, 0-1]; ``users``: annotator of each row;
    ``dimensions``: the d questions; ``source``: where they come from.
    """

    ids: tuple[str, ...]
    rows: tuple[Floats, ...]
    users: tuple[tuple[str, ...], ...]
    dimensions: tuple[Dimension, ...]
    source: dict[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    def to_dict(self) -> dict[str, list[list[float | None]]]:
        """``{id: [[d ratings / 7], ...]}``, ``None`` where masked."""
        return {
            name: [[None if np.isnan(v) else v for v in row] for row in rows.tolist()]
            for name, rows in zip(self.ids, self.rows, strict=True)
        }

    def to_frame(self) -> pd.DataFrame:
        """One line a rating: ``id``, ``user``, one column a dimension."""
        reserve(self.dimensions, "id", "user")
        frame = pd.DataFrame(np.vstack(self.rows), columns=[dimension.name for dimension in self.dimensions])
        names = [name for name, rows in zip(self.ids, self.rows, strict=True) for _ in rows]
        frame.insert(0, "id", names)
        frame.insert(1, "user", [user for users in self.users for user in users])
        return frame

    def meta(self) -> dict[str, Any]:
        """Contents of the side file."""
        return {
            "kind": "all",
            "segments": len(self),
            "dimensions": [asdict(dimension) for dimension in self.dimensions],
            "scale": scale_in_words(self.source)
            .replace("labels are ", "")
            .replace(";", ", every rater a row;"),
            "source": self.source,
        }

    def save(self, path: str | PathLike[str], *, format: str | None = None) -> None:
        """Write the ratings and their side file (see `musicbert.annotation.files.save_table`)."""
        save_table(self, path, format=format)


def all_ratings(table: RatingTable, options: LabelOptions) -> tuple[RatingRows, LabelReport]:
    """All ratings of a table, unfiltered but for ``min_raters`` (and copies of rows, for ``zeros="cell"``).

    Raises `RatingError`: ``nothing-left`` and those of `resolve_columns` and `RatingTable.columns`.
    """
    dimensions = resolve_columns(options.columns or "full", table.study)
    if options.zeros == "cell":
        table = table.without_duplicates()
    raw = table.columns(dimensions)
    lowest, highest = table.study.scale
    answered = (raw >= lowest) & (raw <= highest)
    values = np.where(answered, table.study.label(raw), 0.0 if options.zeros == "row" else np.nan)
    order = np.argsort(table.segment_of, kind="stable")
    counts = np.bincount(table.segment_of, minlength=len(table.segments))
    blocks = np.split(order, np.cumsum(counts)[:-1])
    kept = [k for k, n in enumerate(counts.tolist()) if n >= options.min_raters]
    if not kept:
        raise RatingError(
            "nothing-left", "no segment has enough raters", path=table.path, hint="loosen --min-raters"
        )
    few = f"fewer than {options.min_raters} raters"
    report = LabelReport(
        rows=len(table) + table.dropped_duplicates,
        segments=len(table.segments),
        labelled=len(kept),
        rows_dropped={"the same row again": table.dropped_duplicates},
        segments_dropped={few: len(counts) - len(kept)},
        cells_masked=int((~answered).sum()) if options.zeros == "cell" else 0,
    )
    rows = RatingRows(
        ids=tuple(table.segments[k] for k in kept),
        rows=tuple(values[blocks[k]] for k in kept),
        users=tuple(tuple(table.users[u] for u in table.user_of[blocks[k]].tolist()) for k in kept),
        dimensions=dimensions,
        source=source_of(table, options),
    )
    return rows, report
