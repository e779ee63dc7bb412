"""The files of a benchmark, ``scores.json`` and ``table.md``: always all that is done, also after a kill.

They are written whole, as often as something is done. A call that goes on with an earlier one passes on what
that one had scored of the same tasks, until it comes to them. Verified in
``tests/unit/evaluation/test_task_files.py``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from musicbert.atomic import write_json, write_text
from musicbert.evaluation.reports.benchmark import markdown_table

__all__ = ["TaskFiles"]

SCORES, TABLE = "scores.json", "table.md"


class TaskFiles:
    """The records so far, a task and split each, and their files.

    Parameters
    ----------
    folder
        Folder of the files.
    model
        Name of what was fine-tuned.
    expected
        Tasks and splits that this call comes to.
    train_share
        Share of the training parts, above 0 and up to 1.
    made_by
        Provenance.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        expected: Collection[tuple[str, str]],
        *,
        train_share: float,
        made_by: Mapping[str, Any],
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self._folder, self._model, self._made_by = folder, model, dict(made_by)
        self._earlier = [
            row
            for row in self._read()
            if (row.get("task"), row.get("split")) in set(expected)
            and row.get("network")
            and row.get("train_share", 1) == train_share
        ]

    def _read(self) -> list[dict[str, Any]]:
        """Rows of an earlier call with the same model; a file that is no such table is written over."""
        try:
            content = json.loads((self._folder / SCORES).read_text(encoding="utf-8"))
            return [dict(row) for row in content["rows"]] if content["model"] == self._model else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def write(self) -> None:
        """Write both files."""
        own = {(record["task"], record["split"]) for record in self.records}
        rows = [*self.records, *(row for row in self._earlier if (row["task"], row["split"]) not in own)]
        write_json(self._folder / SCORES, {"model": self._model, "rows": rows, "made_by": self._made_by})
        write_text(self._folder / TABLE, markdown_table(rows, self._model))
