"""Performance inputs on disk: ``<split>.performance.npy``, a float32 row for each note of the split.

The rows are in the order of the pieces, special octuples left out (columns:
`musicbert.encoding.PERFORMANCE_INPUTS`). The file lies beside the tokens, or, in a data-bin of ratings, in
``BIN/<fold>/performance/``. Verified in ``tests/unit/corpus/test_performance.py``.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from musicbert.errors import DatasetError

__all__ = ["open_performance", "performance_path", "performance_width"]

_SUFFIX = ".performance.npy"
_WITHOUT = "make the data with performance inputs, or leave --performance-input out"
_AGAIN = "make the data again"


def performance_path(folder: str | PathLike[str], split: str) -> Path:
    """Find the performance inputs of a split.

    Parameters
    ----------
    folder
        Folder of the tokens, or of one fold of a data-bin of ratings.
    split
        Name of the split.

    Raises
    ------
    DatasetError
        ``not-found``
    """
    for place in _places(folder):
        if (place / f"{split}{_SUFFIX}").is_file():
            return place / f"{split}{_SUFFIX}"
    raise DatasetError(
        "not-found", f"There are no performance inputs of the split {split!r}", path=folder, hint=_WITHOUT
    )


def open_performance(path: str | PathLike[str], *, notes: int | None = None) -> NDArray[np.float32]:
    """Open performance inputs.

    Parameters
    ----------
    path
        The ``.npy``.
    notes
        Number of notes that they must be of; any number if None.

    Returns
    -------
    ndarray
        [shape=(notes, P), float32], memory-mapped.

    Raises
    ------
    DatasetError
        ``bad-performance``: damaged, of another type or shape, or not one row for each note.
    """
    try:
        inputs: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            "bad-performance", f"Performance inputs cannot be read: {error}", path=path, hint=_AGAIN
        ) from error
    if inputs.ndim != 2 or inputs.dtype != np.float32:
        raise DatasetError(
            "bad-performance",
            f"This is {inputs.dtype} of shape {inputs.shape}, no float32 table",
            path=path,
            hint=_AGAIN,
        )
    if notes is not None and len(inputs) != notes:
        raise DatasetError(
            "bad-performance",
            f"There are {len(inputs)} rows of performance inputs for {notes} notes",
            path=path,
            hint=_AGAIN,
        )
    return cast(NDArray[np.float32], inputs)


def performance_width(folder: str | PathLike[str]) -> int:
    """Return the number ``P`` of performance inputs of a note in all splits of a folder.

    Raises
    ------
    DatasetError
        ``not-found``; ``bad-performance``, also where splits differ.
    """
    for place in _places(folder):
        found = sorted(place.glob(f"*{_SUFFIX}"))
        widths = {open_performance(path).shape[1] for path in found}
        if len(widths) > 1:
            raise DatasetError(
                "bad-performance",
                f"Splits differ in their number of performance inputs: {sorted(widths)}",
                path=place,
                hint=_AGAIN,
            )
        if widths:
            return int(widths.pop())
    raise DatasetError("not-found", "There are no performance inputs", path=folder, hint=_WITHOUT)


def _places(folder: str | PathLike[str]) -> tuple[Path, ...]:
    folder = Path(folder)
    return folder, folder / "performance", folder.parent / "performance"
