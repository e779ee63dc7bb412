"""M2BERT's own files of pre-training (``pop909.npy``, ...) as a data folder of this package.

Upstream holds each corpus as a pickled array of whole pieces; fine-tuning files of segments of one length
(MidiBERT's too) are taken as well: full segments and the shorter one that ends them are one piece again (a
piece that fills its last segment exactly stays with the next one). No pickle is run
(`musicbert.corpus.files.object_npy`). Names are not in the files, so a piece goes to train or valid by a
hash of
its notes; of equal pieces one stays. Versions of one song are not looked for: where the MIDI files are there,
``musicbert build`` is the better way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.bins.rows_bin import META, write_rows_bin
from musicbert.corpus.bins.upstream_cp import read_pieces, read_segments
from musicbert.corpus.files.folders import build_directory
from musicbert.corpus.files.object_npy import load_npy
from musicbert.encoding.compound_word import PAD_ROW
from musicbert.errors import DatasetError

__all__ = ["import_pretraining", "pieces_of_file", "pieces_of_segments"]

#: share of the pieces that validate, as published
VALID = 0.15
Rows = NDArray[np.uint8]


def pieces_of_segments(segments: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Join segments [shape=(N, L, 4), filled up with PAD] to pieces, each [shape=(n, 4), int64]."""
    real = segments[..., 0] != PAD_ROW[0]
    ends = np.flatnonzero(~real.all(axis=1)) + 1
    parts = np.split(np.arange(len(segments)), ends)
    return [segments[part][real[part]] for part in parts if len(part)]


def pieces_of_file(path: str | PathLike[str]) -> list[NDArray[np.int64]]:
    """Read the pieces of a file of either kind, each [shape=(n, 4), int64].

    Raises
    ------
    DatasetError
        As :func:`~musicbert.corpus.bins.upstream_cp.read_pieces`; ``bad-value`` for PAD or MASK inside a
        piece.
    """
    content = load_npy(path)
    if isinstance(content, np.ndarray) and content.ndim == 3:
        pieces = pieces_of_segments(read_segments(path)[0])
    else:
        pieces = read_pieces(path)
    for number, piece in enumerate(pieces):
        if len(piece) and (piece >= PAD_ROW).any():
            raise DatasetError("bad-value", f"piece {number} holds PAD or MASK, which is no note", path=path)
    return pieces


def import_pretraining(
    files: Sequence[str | PathLike[str]],
    folder: str | PathLike[str],
    *,
    valid: float = VALID,
    overwrite: bool = False,
    progress: Callable[[Sequence[str | PathLike[str]]], Iterable[str | PathLike[str]]] = iter,
) -> dict[str, int]:
    """Write upstream's files as one data folder, whole or not at all.

    Parameters
    ----------
    files
        ``.npy`` files.
    folder
        Folder to write, as ``scripts/m2bert/pretrain.sh --data`` takes it.
    valid
        Share of the pieces that validate, 0-1.
    overwrite
        Replace such a folder.
    progress
        Wraps the files, for a progress bar.

    Returns
    -------
    Number of pieces of ``train`` and ``valid``, of ``duplicates`` and of ``empty`` ones, which are left out.

    Raises
    ------
    DatasetError
        As `pieces_of_file` and :func:`~musicbert.corpus.files.folders.build_directory`; ``no-pieces``.
    ValueError
        A share outside 0-1.
    """
    if not 0 <= valid < 1:
        raise ValueError(f"the share that validates is from 0 to less than 1, not {valid}")
    splits: dict[str, list[Rows]] = {"train": [], "valid": []}
    seen: set[bytes] = set()
    empty = duplicates = 0
    for path in progress(files):
        for piece in pieces_of_file(path):
            rows = piece.astype(np.uint8)
            digest = sha256(rows.tobytes()).digest()
            if not len(rows):
                empty += 1
            elif digest in seen:
                duplicates += 1
            else:
                seen.add(digest)
                at = int.from_bytes(digest[:8], "big") / 2.0**64
                splits["valid" if at < valid else "train"].append(rows)
    if not splits["train"]:
        raise DatasetError("no-pieces", "No piece is left to train on", path=folder)
    with build_directory(folder, overwrite=overwrite, recognise=_is_ours) as partial:
        more = {"origin": [Path(path).name for path in files], "duplicates": duplicates}
        counts = write_rows_bin(splits, partial, "cp-m2bert", **more)
    return {**counts, "duplicates": duplicates, "empty": empty}


def _is_ours(folder: Path) -> bool:
    return (folder / META).is_file()
