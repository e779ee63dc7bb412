"""Checks of the tokens of a binarised rating data set.

Layout (contract in ``docs/architecture.md``): ``BIN/<fold>/input0/``, ``label/`` and ``performance/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.encoding import FIELD_OFFSETS, MASK
from musicbert.encoding.vocabulary import FIELDS
from musicbert.errors import DatasetError

__all__ = ["BINARISE", "check_tokens"]

#: what to do about a data-bin that is damaged
BINARISE = "binarise the data set again with scripts/binarize_xai.sh"

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
        whole = len(piece) % len(FIELDS) == 0 and len(piece) >= 3 * len(FIELDS)
        if whole:
            notes = piece.reshape(-1, len(FIELDS))  # (T, F)
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
