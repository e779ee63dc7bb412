"""The table of public data sets that `musicbert data` can fetch (``public_data.json``).

An entry has a title, the name of the file, its address, its SHA-256 (None where nobody has recorded it yet),
licence, size in bytes (None if unknown), the page of its publisher, and what it is used for. Data are their
publishers': nothing of them is part of this package.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from musicbert.errors import DatasetError, nearest


@dataclass(frozen=True)
class PublicData:
    """One public data set (see the module)."""

    name: str
    title: str
    file: str
    url: str
    licence: str
    page: str
    used_for: str
    sha256: str | None = None
    size: int | None = None


@cache
def public_data() -> dict[str, PublicData]:
    """All entries by name."""
    table = json.loads(
        files("musicbert.corpus.files").joinpath("public_data.json").read_text(encoding="utf-8")
    )
    return {name: PublicData(name, **entry) for name, entry in table.items()}


def find_public_data(name: str) -> PublicData:
    """Entry of a name.

    Raises `DatasetError` ``unknown-name``.
    """
    known = public_data()
    if name not in known:
        message = f"no data set is called {name!r}; there are {', '.join(known)}"
        raise DatasetError("unknown-name", message, hint=nearest(name, known))
    return known[name]
