"""Opening a data folder: dictionary, binarised pieces, performance inputs.

A data folder holds ``dict.txt``, ``<split>.{bin,idx}`` (one item a piece, 8 * (notes + 2) tokens) and, for
models with performance inputs, ``<split>.performance.npy`` (float32 [shape=(notes, P)], a row for each note
in the order of the pieces, special octuples left out).
"""

from pathlib import Path
from typing import Any

import numpy as np
from fairseq.data import Dictionary, data_utils
from numpy.typing import NDArray

from musicbert.corpus.bins.performance import open_performance, performance_path
from musicbert.encoding.vocabulary import BOS, EOS, N_FIELDS, TOKENS
from musicbert.errors import DatasetError

#: octuples of a piece that are no notes: ``<s>`` and ``</s>``
SPECIAL_OCTUPLES = 2


def is_octuple_dictionary(dictionary: Dictionary) -> bool:
    """Whether a dictionary, with ``<mask>`` or without, is that of OctupleMIDI."""
    symbols = tuple(dictionary.symbols)
    return symbols in (TOKENS, TOKENS[:-1])


def check_dictionary(dictionary: Dictionary, path: str | Path) -> None:
    """Raise `DatasetError` (``wrong-dictionary``) if a dictionary is not that of OctupleMIDI."""
    if not is_octuple_dictionary(dictionary):
        message = f"This dictionary of {len(dictionary)} tokens is not that of OctupleMIDI"
        hint = "binarise again with --srcdict <the dict.txt written beside the text>"
        raise DatasetError("wrong-dictionary", message, path=path, hint=hint)


def load_dictionary(folder: str | Path) -> Dictionary:
    """Read ``dict.txt`` of a data folder and add ``<mask>``.

    Raises `DatasetError`: ``not-found``, or ``wrong-dictionary`` if it is not that of OctupleMIDI.
    """
    path = Path(folder) / "dict.txt"
    if not path.is_file():
        hint = "binarise the data first, or give the folder that holds dict.txt"
        raise DatasetError("not-found", "The data folder has no dict.txt", path=path, hint=hint)
    dictionary = Dictionary.load(str(path))
    check_dictionary(dictionary, path)
    dictionary.add_symbol("<mask>")
    return dictionary


def load_pieces(folder: str | Path, split: str, dictionary: Dictionary, *, combine: bool = False) -> Any:
    """Open the binarised pieces of a split.

    Raises `DatasetError`: ``not-found``, ``no-pieces``, or ``wrong-tokens`` (not sequences of octuples).
    """
    path = Path(folder) / split
    tokens = Path(f"{path}.bin")
    if tokens.is_file() and tokens.stat().st_size == 0:  # fairseq cannot open it
        hint = "make the data with a larger --valid-share, or train with --disable-validation"
        raise DatasetError("no-pieces", "The split is empty", path=tokens, hint=hint)
    pieces = data_utils.load_indexed_dataset(str(path), dictionary, combine=combine)
    if pieces is None:
        hint = "binarise the data first, or check the name of the split"
        if split == "valid":
            hint += "; `musicbert build` makes a validation part with larger --shares, such as 80 10 10"
        raise DatasetError("not-found", f"There is no binarised split {split!r}", path=path, hint=hint)
    wrong = np.flatnonzero(np.asarray(pieces.sizes) % N_FIELDS)
    ends = [] if len(wrong) else [pieces[0], pieces[len(pieces) - 1]]
    if len(wrong) or any((p[:N_FIELDS] != BOS).any() or (p[-N_FIELDS:] != EOS).any() for p in ends):
        message = f"Piece {wrong[0] if len(wrong) else 0} is not a sequence of octuples between <s> and </s>"
        hint = "binarise the text lines as they are, with fairseq's end-of-line token"
        raise DatasetError("wrong-tokens", message, path=path, hint=hint)
    return pieces


def load_performance(folder: str | Path, split: str, sizes: NDArray[np.integer]) -> NDArray[np.float32]:
    """Open the performance inputs of pieces of these ``sizes`` (tokens) [shape=(notes, P), float32].

    Raises `DatasetError` (``not-found``, or ``bad-performance`` if there is not one row for each note).
    """
    notes = int(np.sum(np.asarray(sizes) // N_FIELDS - SPECIAL_OCTUPLES))
    return open_performance(performance_path(folder, split), notes=notes)
