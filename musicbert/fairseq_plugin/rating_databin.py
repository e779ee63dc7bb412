"""Checks of a binarised rating data set: its tokens and its performance inputs.

Layout (contract in ``docs/architecture.md``): ``BIN/<fold>/input0/``, ``label/`` and ``performance/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.encoding import FIELD_OFFSETS, MASK
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.rating_dataset import FIELDS

__all__ = ["BINARISE", "check_tokens", "open_performance", "performance_width"]

#: what to do about a data-bin that is damaged
BINARISE = "binarise the data set again with scripts/binarize_xai.sh"

_WITHOUT = "make the data set with performance inputs, or leave --performance-input out"

# first id of each field and of what follows the last one
_FIELD_STARTS = np.array([*FIELD_OFFSETS, MASK])


def check_tokens(tokens: Sequence[Any], prefix: Path) -> None:
    """Check that every piece is whole notes of this dictionary between two special octuples.

    Parameters
    ----------
    tokens
        Tensors of token ids [shape=(T*F,)].
    prefix
        Path of the indexed data set, without suffix.

    Raises
    ------
    DatasetError
        ``wrong-dictionary``
    """
    for index in range(len(tokens)):
        piece = tokens[index].numpy()
        whole = len(piece) % FIELDS == 0 and len(piece) >= 3 * FIELDS
        if whole:
            notes = piece.reshape(-1, FIELDS)  # (T, F)
            inner = notes[1:-1]
            whole = bool(
                (notes[[0, -1]] < _FIELD_STARTS[0]).all()
                and (inner >= _FIELD_STARTS[:-1]).all()
                and (inner < _FIELD_STARTS[1:]).all()
            )
        if not whole:
            raise DatasetError(
                "wrong-dictionary",
                f"piece {index} is no sequence of whole notes in this dictionary",
                path=prefix.with_suffix(".bin"),
                hint=f"it was made with another dictionary, or is damaged: {BINARISE}",
            )


def _open(path: Path) -> np.ndarray:
    try:
        inputs = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            "bad-performance", f"performance inputs cannot be read: {error}", path=path, hint=_WITHOUT
        ) from None
    if inputs.ndim != 2 or inputs.dtype != np.float32:
        raise DatasetError("bad-performance", "this is no float32 table", path=path, hint=BINARISE)
    return inputs


def open_performance(data: str | Path, split: str, notes: int) -> np.ndarray:
    """Open the performance inputs of a split.

    Parameters
    ----------
    data
        Folder of one fold of a data-bin.
    split
        Name of the split.
    notes
        Number of its notes.

    Returns
    -------
    ndarray
        [shape=(notes, P), float32], memory-mapped.

    Raises
    ------
    DatasetError
        ``bad-performance``
    """
    path = Path(data) / "performance" / f"{split}.performance.npy"
    inputs = _open(path)
    if len(inputs) != notes:
        raise DatasetError(
            "bad-performance",
            f"{len(inputs)} rows of performance inputs for {notes} notes",
            path=path,
            hint=BINARISE,
        )
    return inputs


def performance_width(data: str | Path) -> int:
    """Return the number ``P`` of performance inputs of a data-bin.

    Raises
    ------
    DatasetError
        ``bad-performance`` where it has none, or splits differ.
    """
    found = sorted((Path(data) / "performance").glob("*.performance.npy"))
    widths = {_open(path).shape[1] for path in found}
    if len(widths) != 1:
        reason = "differ in their number" if widths else "are missing"
        raise DatasetError(
            "bad-performance", f"the performance inputs of the splits {reason}", path=data, hint=_WITHOUT
        )
    return int(widths.pop())
