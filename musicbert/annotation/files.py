"""Files of labels: a table of segments as JSON, CSV or Parquet with a side file, each written atomically."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from musicbert.annotation.bounds import read_bounded
from musicbert.annotation.dimensions import Dimension
from musicbert.atomic import write_bytes
from musicbert.errors import RatingError

if TYPE_CHECKING:
    import pandas as pd


#: suffix -> format of a label map
FORMATS: Mapping[str, str] = {".json": "json", ".csv": "csv", ".parquet": "parquet"}


class Table(Protocol):
    """What `save_table` writes."""

    @property
    def dimensions(self) -> Sequence[Dimension]:
        """What the columns mean."""

    def to_dict(self) -> dict[str, Any]:
        """Content of the JSON."""

    def to_frame(self) -> pd.DataFrame:
        """Content of CSV and Parquet."""

    def meta(self) -> dict[str, Any]:
        """Content of the side file."""


def reserve(dimensions: Sequence[Dimension], *columns: str) -> None:
    """Raise `RatingError` ``duplicate-column`` where a dimension is called like another column of a table."""
    taken = [dimension.name for dimension in dimensions if dimension.name in columns]
    if taken:
        what = f"a dimension cannot be called {taken[0]!r} in a table of labels"
        raise RatingError("duplicate-column", what, hint="write the labels as .json, or rename the dimension")


def meta_path(path: str | os.PathLike[str]) -> Path:
    """Side file of a label map: ``labels.json`` -> ``labels.meta.json``."""
    return Path(path).with_suffix(".meta.json")


def format_of(path: str | os.PathLike[str], wanted: str | None = None) -> str:
    """Format of a label map: as asked for, or by suffix; `RatingError` ``unknown-format``."""
    kind = wanted or FORMATS.get(Path(path).suffix.lower(), "")
    if kind not in FORMATS.values():
        raise RatingError(
            "unknown-format",
            f"the format {kind or Path(path).suffix!r} is not known",
            path=path,
            hint="use a name that ends in .json, .csv or .parquet, or say --format",
        )
    return kind


def save_table(table: Table, path: str | os.PathLike[str], *, format: str | None = None) -> None:
    """Write a table of segments and its side file, each atomically; the format follows from the suffix.

    Raises `RatingError`: ``unknown-format``, ``cannot-write``.
    """
    kind = format_of(path, format)
    if kind == "json":
        data = json.dumps(table.to_dict()).encode()
    elif kind == "csv":
        data = table.to_frame().to_csv(index=False, lineterminator="\n").encode()
    else:
        buffer = io.BytesIO()
        table.to_frame().to_parquet(buffer, index=False)
        data = buffer.getvalue()
    write_whole(path, data)
    side = json.dumps(table.meta(), indent=1, ensure_ascii=False) + "\n"
    write_whole(meta_path(path), side.encode())


def read_whole(
    path: str | os.PathLike[str], content: str, *, missing: str, empty: str | None = None
) -> bytes:
    """Read a file that must not be empty; ``content`` names it, ``missing`` and ``empty`` are hints.

    Raises `RatingError`: ``not-found``, ``empty-file``, ``too-large``.
    """
    try:
        data = read_bounded(path)
    except OSError as error:
        raise RatingError(
            "not-found", f"cannot read {content}: {error.strerror}", path=path, hint=missing
        ) from error
    except ValueError as error:
        raise RatingError("too-large", f"cannot read {content}: {error}", path=path) from error
    if not data.strip():
        raise RatingError("empty-file", f"there is nothing in {content}", path=path, hint=empty)
    return data


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file atomically; `RatingError` ``cannot-write`` when the folder is missing or not writable."""
    try:
        write_bytes(path, data)
    except OSError as error:
        raise RatingError(
            "cannot-write", f"cannot write: {error.strerror}", path=path, hint="does the folder exist?"
        ) from error
