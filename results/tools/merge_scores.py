r"""Merge the scores of one data set that were made in several calls, or on several machines.

Example: python results/tools/merge_scores.py results/downstream/next_midi runs/init runs/scratch \
    --output results/downstream/next_midi

Each part is a folder with ``scores.json`` (`musicbert.evaluation.tables.write_scores`). The result keeps the
provenance of every part under the rows that came with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from program import make_parser, report_errors

from musicbert.errors import DatasetError
from musicbert.evaluation.rows import Row, read_rows, shown_name
from musicbert.evaluation.tables import write_scores

__all__ = ["merge_scores"]


def merge_scores(
    parts: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    names: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Path:
    """Write the rows of several score folders as one.

    Parameters
    ----------
    parts
        Folders; where two have a row of one name, that of the later part counts. Title, sentences and columns
        are those of the first.
    out
        Folder to write; it may be one of the parts.
    names
        New names of rows of the later parts, by their beginning: ``{"mini-init": "mini-init, 800 updates"}``.
    notes
        Sentences to add below the heading.
    drop
        Beginnings of rows, and of sentences, of the first part that are left out: what later parts replace
        under another name.

    Raises
    ------
    DatasetError
        ``bad-scores`` where a part cannot be read, ``other-data`` where parts were scored on other data,
        ``nothing-dropped`` where no row and no sentence of the first part begins so.
    """
    contents = [_read(Path(part)) for part in parts]
    names_of_first = [*contents[0]["rows"], *contents[0]["notes"]]
    for beginning in drop:
        if not any(name.startswith(beginning) for name in names_of_first):
            raise DatasetError(
                "nothing-dropped",
                f"no row and no sentence begins with {beginning!r}",
                path=parts[0],
                hint=f"its rows are {', '.join(contents[0]['rows'])}",
            )
    first = contents[0] = _without(contents[0], tuple(drop))
    rows: dict[str, Row] = dict(first["rows"])
    sources = list(first.get("parts") or [{"rows": list(rows), "provenance": first["provenance"]}])
    for part, content in zip(parts[1:], contents[1:], strict=True):
        for key in ("title", "about"):
            if content.get(key) != first.get(key):
                raise DatasetError(
                    "other-data",
                    f"scored on other data: {content.get('title')}, not {first.get('title')}",
                    path=part,
                )
        renamed = _by_name(
            replace(row, name=_renamed(row.name, names or {})) for row in content["rows"].values()
        )
        new = {name: row for name, row in renamed.items() if name not in rows or name != "chance"}
        rows |= new
        sources = [
            {**source, "rows": [row for row in source["rows"] if row not in new]} for source in sources
        ]  # what a later part replaced
        sources.append({"rows": list(new), "provenance": content["provenance"]})
    more = {
        key: value
        for key, value in first.items()
        if key not in ("title", "notes", "columns", "rows", "parts", "provenance")
    }
    more["parts"] = [source for source in sources if source["rows"]]
    return write_scores(
        out,
        title=first["title"],
        notes=[*first["notes"], *(note for note in notes if note not in first["notes"])],
        rows=list(rows.values()),
        metrics=first["columns"],
        more=more,
    )


def _without(content: dict[str, Any], drop: tuple[str, ...]) -> dict[str, Any]:
    """Leave out rows and sentences that begin so."""
    if not drop:
        return content

    rows = {name: row for name, row in content["rows"].items() if not name.startswith(drop)}
    left = {**content, "rows": rows}
    left["notes"] = [note for note in content["notes"] if not note.startswith(drop)]
    if "parts" in content:
        left["parts"] = [
            {**part, "rows": [row for row in part["rows"] if not row.startswith(drop)]}
            for part in content["parts"]
        ]
    return left


def _read(part: Path) -> dict[str, Any]:
    try:
        content = json.loads((part / "scores.json").read_text(encoding="utf-8"))
        content["rows"] = _by_name(read_rows(content["rows"]))
        _ = content["columns"], content["title"], content["notes"]
        if "parts" not in content:
            _ = content["provenance"]["command"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError("bad-scores", "no scores.json of an evaluation", path=part) from error
    return dict(content)


def _by_name(rows: Iterable[Row]) -> dict[str, Row]:
    return {shown_name(row): row for row in rows}


def _renamed(row: str, names: Mapping[str, str]) -> str:
    return next((new + row.removeprefix(old) for old, new in names.items() if row.startswith(old)), row)


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and merge. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("parts", nargs="+", type=Path, help="folders with scores.json; later rows win")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, may be one of the parts")
    parser.add_argument(
        "--rename", nargs="+", default=[], metavar="OLD=NEW", help="beginnings of rows of later parts"
    )
    parser.add_argument("--note", nargs="+", default=[], help="sentences to put below the heading")
    parser.add_argument(
        "--drop",
        nargs="+",
        default=[],
        metavar="BEGINNING",
        help="beginnings of rows and sentences of the first part that are left out",
    )
    given = parser.parse_args(arguments)
    if any("=" not in word for word in given.rename):
        parser.error("--rename takes OLD=NEW")
    names = dict(word.split("=", 1) for word in given.rename)

    def merge() -> str:
        folder = merge_scores(given.parts, given.output, names=names, notes=given.note, drop=given.drop)
        return f"-> {folder}/scores.{{json,csv,md}}"

    return report_errors(merge)


if __name__ == "__main__":
    sys.exit(main())
