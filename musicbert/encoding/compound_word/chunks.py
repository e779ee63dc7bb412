"""Pieces in chunks of equal length, as the published fine-tuning data are: 1,024 rows, or 512 for MidiBERT.

Chunks follow each other without overlap; the last one is filled up with PAD rows, and its labels with 0. The
field bar is not changed: a chunk may begin inside a bar, with Continue. Pre-training takes whole pieces.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicbert.arrays import Ints
from musicbert.encoding.compound_word.vocabulary import N_FIELDS, PAD_ROW

#: Rows of a chunk: M2BERT's tasks on notes; MidiBERT, and M2BERT's tasks on pieces.
CHUNK, MIDIBERT_CHUNK = 1024, 512


def chunk_rows(rows: Ints, length: int = CHUNK, *, drop_below: int = 0) -> Ints:
    """Cut rows [shape=(n, 4)] into chunks [shape=(chunks, length, 4), int64], filled up with PAD rows.

    A last chunk of fewer than ``drop_below`` rows is left out (MidiBERT's composer task: half the length),
    even if it is the only one.
    """
    return _chunks(rows, length, np.array(PAD_ROW, np.int64), drop_below)


def chunk_values(
    values: ArrayLike, length: int = CHUNK, *, pad: int | float = 0, drop_below: int = 0
) -> NDArray[Any]:
    """Cut a value of each row (label, index of the note) like `chunk_rows` [shape=(chunks, length)].

    ``pad``: value of the PAD rows: 0 as in upstream's files, -1 for indices.
    """
    return _chunks(np.asarray(values), length, pad, drop_below)


def _chunks(values: NDArray[Any], length: int, pad: Any, drop_below: int) -> NDArray[Any]:
    """Chunks of the first axis."""
    if length < 1:
        raise ValueError(f"a chunk has 1 row or more, not {length}")
    n = len(values)
    last = n % length
    if 0 < last < drop_below:
        n -= last
    count = -(-n // length)
    chunks = np.empty((count * length, *values.shape[1:]), values.dtype)
    chunks[:n] = values[:n]
    chunks[n:] = pad
    return chunks.reshape(count, length, *values.shape[1:])


def labels_by_running_index(labels: ArrayLike, rows: Ints) -> NDArray[Any]:
    """Labels of rows as the published program assigns them: the k-th label to the k-th row.

    Only to reproduce published data: labels are on the wrong notes wherever the encoding sorts or drops a
    note. The right labels are ``labels[note_index]``.
    """
    if rows.shape[1:] != (N_FIELDS,):
        raise ValueError(f"rows have shape (notes, {N_FIELDS}), not {rows.shape}")
    return np.asarray(labels)[: len(rows)]
