"""Upstream's files of compound words: ``.npy`` of M2BERT, SMCBenchmark and MidiBERT, and the dictionary.

==============================================  =========================================================
file                                            content
==============================================  =========================================================
pre-training, ``pop909.npy``                    object array of pieces, each a list of rows of four ids
fine-tuning, ``pop909_train.npy``               int64 [shape=(N, L, 4)], filled up with PAD rows
fine-tuning, ``pop909_train_melans.npy``        int64 [shape=(N, L)] (notes) or [shape=(N,)] (pieces)
benchmark, ``downstream_note/...npy``           object array of pieces, each a list of [onset, offset,
                                                pitch] in beats of which a bar has four
benchmark, ``..._melodyans.npy``                object array of pieces, each a list of ints
==============================================  =========================================================

None of them is trusted: see `musicbert.corpus.files.object_npy`; errors are those of its `load_npy`, and
``bad-value`` for another shape or an id out of range, naming the piece.

`import_pretraining` makes a data folder of this package of pre-training files, and of fine-tuning files of
segments of one length (MidiBERT's too): full segments and the shorter one that ends them are one piece again
(a piece that fills its last segment exactly stays with the next one). Names are not in the files, so a piece
goes to train or valid by a hash of its notes; of equal pieces one stays. Versions of one song are not looked
for: where the MIDI files are there, ``musicbert build`` is the better way.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints
from musicbert.corpus.bins.rows_bin import META, write_rows_bin
from musicbert.corpus.files.folders import build_directory
from musicbert.corpus.files.object_npy import load_npy
from musicbert.encoding.beat_notes import BeatNotes, check_beat_notes
from musicbert.encoding.compound_word import PAD_ROW
from musicbert.encoding.compound_word.vocabulary import N_FIELDS, check_rows
from musicbert.errors import DatasetError, MidiError

FilePath = str | PathLike[str]

#: Share of the pieces that validate, as published.
VALID = 0.15


def read_segments(tokens: FilePath, answers: FilePath | None = None) -> tuple[Ints, Ints | None]:
    """Read segments of one length [shape=(N, L, 4), int64], and their labels.

    Labels are [shape=(N, L), int64] or [shape=(N,), int64]; None without a file.
    """
    x = _integers(load_npy(tokens), tokens)
    if x.ndim != 3 or x.shape[-1] != N_FIELDS:
        raise _bad(tokens, f"segments have shape (segments, notes, {N_FIELDS}), not {x.shape}")
    _checked_rows(x.reshape(-1, N_FIELDS), tokens)
    if answers is None:
        return x, None
    y = _integers(load_npy(answers), answers)
    if y.shape not in (x.shape[:1], x.shape[:2]):
        raise _bad(answers, f"labels of shape {y.shape} do not fit segments of shape {x.shape}")
    return x, y


def read_pieces(path: FilePath) -> list[Ints]:
    """Read pieces of any length, each [shape=(n, 4), int64], as M2BERT's pre-training files hold them."""
    return [
        _checked_rows(_matrix(piece, number, path), path, f"piece {number}: ")
        for number, piece in enumerate(load_npy(path))
    ]


def read_note_lists(path: FilePath) -> list[BeatNotes]:
    """Read the benchmark's lists of notes."""
    pieces = []
    for number, piece in enumerate(load_npy(path)):
        table = _matrix(piece, number, path)
        if table.ndim != 2 or table.shape[1] != 3:
            raise _bad(path, f"piece {number} has shape {table.shape}, not (notes, 3)")
        times = table.astype(np.float64)
        if (times[:, 2] != np.rint(times[:, 2])).any():
            raise _bad(path, f"piece {number}: a pitch is not a whole number")
        notes = BeatNotes(
            onset=times[:, 0].copy(),
            offset=times[:, 1].copy(),
            pitch=times[:, 2].astype(np.int64),
            velocity=np.full(len(times), 64, np.int64),
        )
        try:
            check_beat_notes(notes)
        except MidiError as error:
            raise _bad(path, f"piece {number}: {error.message}") from error
        pieces.append(notes)
    return pieces


def read_label_lists(path: FilePath) -> list[Ints]:
    """Read lists of labels, one a piece, each an int of every note."""
    labels = []
    for number, piece in enumerate(load_npy(path)):
        values = _integers(_matrix(piece, number, path), path)
        if values.ndim != 1:
            raise _bad(path, f"piece {number}: labels have shape {values.shape}, not (notes,)")
        labels.append(values)
    return labels


def pieces_of_segments(segments: Ints) -> list[Ints]:
    """Join segments [shape=(N, L, 4), filled up with PAD] to pieces, each [shape=(n, 4), int64]."""
    real = segments[..., 0] != PAD_ROW[0]
    ends = np.flatnonzero(~real.all(axis=1)) + 1
    parts = np.split(np.arange(len(segments)), ends)
    return [segments[part][real[part]] for part in parts if len(part)]


def _pieces_of_file(path: FilePath) -> list[Ints]:
    """Read the pieces of a file of pieces or segments, each [shape=(n, 4), int64], without PAD or MASK."""
    content = load_npy(path)
    if isinstance(content, np.ndarray) and content.ndim == 3:
        pieces = pieces_of_segments(read_segments(path)[0])
    else:
        pieces = read_pieces(path)
    for number, piece in enumerate(pieces):
        if len(piece) and (piece >= PAD_ROW).any():
            raise _bad(path, f"piece {number} holds PAD or MASK, which are not notes")
    return pieces


def import_pretraining(
    files: Sequence[FilePath],
    folder: FilePath,
    *,
    valid: float = VALID,
    overwrite: bool = False,
    progress: Callable[[Sequence[FilePath]], Iterable[FilePath]] = iter,
) -> dict[str, int]:
    """Write upstream's files as one data folder (``scripts/m2bert/pretrain.sh --data``), whole or not at all.

    ``valid``: share of the pieces that validate, from 0 to below 1; ``progress``: wraps the files.
    Returns the number of pieces of ``train`` and ``valid``, and of ``duplicates`` and ``empty`` ones, which
    are left out. Raises `DatasetError`: those of the files and of `build_directory`; ``no-pieces``.
    """
    if not 0 <= valid < 1:
        raise ValueError(f"the share that validates is from 0 to less than 1, not {valid}")
    splits: dict[str, list[NDArray[np.uint8]]] = {"train": [], "valid": []}
    seen: set[bytes] = set()
    empty = duplicates = 0
    for path in progress(files):
        for piece in _pieces_of_file(path):
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


def _matrix(piece: Any, number: int, path: FilePath) -> NDArray[Any]:
    try:
        table = np.asarray(piece)
    except (ValueError, OverflowError) as error:
        raise _bad(path, f"piece {number}: its rows differ in length, or a number is too large") from error
    if table.dtype.kind not in "iuf":
        raise _bad(path, f"piece {number} holds {table.dtype}, not numbers")
    return table


def _integers(values: Any, path: FilePath) -> Ints:
    array = np.asarray(values) if isinstance(values, np.ndarray) else _matrix(values, 0, path)
    if array.dtype.kind not in "iu":
        raise _bad(path, f"the file holds {array.dtype}, not integers")
    integers: Ints = array.astype(np.int64)
    return integers


def _checked_rows(rows: NDArray[Any], path: FilePath, where: str = "") -> Ints:
    try:
        return check_rows(rows)
    except MidiError as error:
        raise _bad(path, where + error.message) from error


def _bad(path: FilePath, message: str) -> DatasetError:
    return DatasetError("bad-value", message, path=fspath(path))
