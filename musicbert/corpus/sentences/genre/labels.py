"""Genre labels of Lakh MIDI files: ``midi_genre_map.json``.

The file is ``{"topmagd": {md5: [labels]}, "masd": ..., "magd": ...}`` (andrebola/patterns-genres; Ferraro and
Lemström 2018). The md5 is the file's name. A label is stripped, blanks become ``-``, and the labels of a file
are a sorted set, as in MusicBERT's ``gen_genre``. The full sets: TOP-MAGD 22,535 files and 13 classes, MASD
17,785 files and 25.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from musicbert.errors import DatasetError

__all__ = ["SUBSETS", "read_genres"]

#: Sets of MusicBERT and their number of classes.
SUBSETS = {"topmagd": 13, "masd": 25}


def read_genres(path: str | PathLike[str], subset: str) -> dict[str, tuple[str, ...]]:
    """Read the labels of a set.

    Returns
    -------
    dict
        Name of the file (its md5) -> labels, sorted; files without a label are left out.

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-labels``.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(
            "not-found", f"The genres cannot be read: {error.strerror}", path=path, hint="see --map"
        ) from error
    except ValueError as error:
        raise DatasetError("bad-labels", f"This is no JSON: {error}", path=path) from error
    found = content.get(subset) if isinstance(content, dict) else None
    if not isinstance(found, dict) or not all(
        isinstance(labels, list) and all(isinstance(each, str) for each in labels)
        for labels in found.values()
    ):
        sets = ", ".join(content) if isinstance(content, dict) else "none"
        raise DatasetError(
            "bad-labels",
            f"There is no set {subset!r} of files and their labels here; sets: {sets}",
            path=path,
        )
    cleaned = {
        str(name): tuple(sorted({"-".join(label.split()) for label in labels if label.strip()}))
        for name, labels in found.items()
    }
    return {name: labels for name, labels in cleaned.items() if labels}
