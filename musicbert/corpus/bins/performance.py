"""Performance inputs on disk: ``<split>.performance.npy``, a float32 row for each note of the split.

The rows are in the order of the pieces, special octuples left out (columns:
`musicbert.encoding.PERFORMANCE_INPUTS`). The file lies beside the tokens, or, in a data-bin of ratings, in
``BIN/<fold>/performance/``.
"""

from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Singles
from musicbert.errors import DatasetError

_SUFFIX = ".performance.npy"
_WITHOUT = "make the data with performance inputs, or leave --performance-input out"


def performance_path(folder: str | PathLike[str], split: str) -> Path:
    """Find the performance inputs of a split, by the folder of the tokens or of one fold of a data-bin.

    Raises `DatasetError` (``not-found``).
    """
    for place in _places(folder):
        if (path := place / f"{split}{_SUFFIX}").is_file():
            return path
    message = f"There are no performance inputs of the split {split!r}"
    raise DatasetError("not-found", message, path=folder, hint=_WITHOUT)


def open_performance(path: str | PathLike[str], *, notes: int | None = None) -> Singles:
    """Open performance inputs, mapped [shape=(notes, P), float32]; any number of notes if None.

    Raises `DatasetError` (``bad-performance``: damaged, of another type or shape, or not one row a note).
    """
    try:
        inputs: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise _bad(f"Performance inputs cannot be read: {error}", path) from error
    if inputs.ndim != 2 or inputs.dtype != np.float32:
        raise _bad(f"A float32 table is expected, not {inputs.dtype} of shape {inputs.shape}", path)
    if notes is not None and len(inputs) != notes:
        raise _bad(f"There are {len(inputs)} rows of performance inputs for {notes} notes", path)
    return cast(Singles, inputs)


def performance_width(folder: str | PathLike[str]) -> int:
    """Return the number ``P`` of performance inputs of a note in all splits of a folder.

    Raises `DatasetError` (``not-found``; ``bad-performance``, also where splits differ).
    """
    for place in _places(folder):
        widths = {open_performance(path).shape[1] for path in sorted(place.glob(f"*{_SUFFIX}"))}
        if len(widths) > 1:
            raise _bad(f"Splits differ in their number of performance inputs: {sorted(widths)}", place)
        if widths:
            return int(widths.pop())
    raise DatasetError("not-found", "There are no performance inputs", path=folder, hint=_WITHOUT)


def _bad(message: str, path: str | PathLike[str]) -> DatasetError:
    return DatasetError("bad-performance", message, path=path, hint="make the data again")


def _places(folder: str | PathLike[str]) -> tuple[Path, ...]:
    folder = Path(folder)
    return folder, folder / "performance", folder.parent / "performance"
