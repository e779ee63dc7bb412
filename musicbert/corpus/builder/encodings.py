"""What a corpus of one encoding is made of: rows of a piece, and how its sequences are laid out.

==============  ==============================  ====================================================
encoding        a sequence                      beside the binarised files
==============  ==============================  ====================================================
``octuple``     a window of a piece between     ``dict.txt``
                octuples of ``<s>`` and
                ``</s>``, token ids
``cp``, ...     a whole piece, rows as they     ``meta.json`` (`musicbert.corpus.bins.rows_bin`)
                are
==============  ==============================  ====================================================
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.atomic import write_text
from musicbert.corpus.bins.rows_bin import write_meta
from musicbert.corpus.builder.options import BuildOptions
from musicbert.encoding import FIELD_OFFSETS, content_md5, dictionary_text, encode_notes, plan_windows
from musicbert.encoding.codec import get_codec
from musicbert.encoding.compound_word import accepted_for_pretraining
from musicbert.encoding.vocabulary import FIELDS
from musicbert.errors import MidiError
from musicbert.midi import Score

__all__ = ["EncodedPiece", "describe_corpus", "encode_piece"]

Ints = NDArray[np.int64]
_OFFSETS = np.array(FIELD_OFFSETS, np.uint16)
_DRUMS = 128


class EncodedPiece:
    """A piece as it goes into a shard.

    Attributes
    ----------
    rows
        [shape=(n, F), uint16]: token ids of octuples, or rows of another codec.
    windows
        [shape=(windows, 3), int32] (`musicbert.encoding.Window`).
    note_index
        Note of the score that each row came from [shape=(n,), int64].
    program, pitch
        By which duplicates and versions are found: program 128 is percussion [shape=(n,), int64].
    content
        Hash that duplicates share.
    """

    def __init__(
        self,
        rows: NDArray[np.integer],
        windows: Ints,
        note_index: Ints,
        program: Ints,
        pitch: Ints,
        content: str,
    ) -> None:
        self.rows = rows.astype(np.uint16, copy=False)
        self.windows = windows.astype(np.int32).reshape(-1, 3)
        self.note_index, self.program, self.pitch, self.content = note_index, program, pitch, content


def encode_piece(score: Score, options: BuildOptions, rng: np.random.Generator) -> EncodedPiece:
    """Encode a piece, as `read_score` gives it, and plan its sequences.

    Raises
    ------
    MidiError
        Those of the encoding; ``other-metre`` for a piece that ``metres="one-4/4"`` leaves out.
    """
    if options.metres == "one-4/4" and not accepted_for_pretraining(score):
        raise MidiError("other-metre", "It does not have exactly one time signature that is 4/4")
    if options.encoding == "octuple":
        rows, note_index = encode_notes(score, policies=options.policies, checked=True)
        windows = plan_windows(
            rows[:, 0], rng, window=options.window, overlap=options.overlap, policies=options.policies
        )
        planned = np.array(list(windows), np.int64)
        program, pitch = rows[:, 2], rows[:, 3]
        return EncodedPiece(
            rows.astype(np.uint16) + _OFFSETS, planned, note_index, program, pitch, content_md5(rows)
        )
    rows, note_index = get_codec(options.encoding).encode(score)
    program = np.where(score.drum[note_index], _DRUMS, score.program[note_index])
    pitch = score.pitch[note_index]
    table = np.zeros((len(rows), len(FIELDS)), np.int64)
    table[:, FIELDS.index("program")] = program
    table[:, FIELDS.index("pitch")] = pitch + 128 * (program == _DRUMS)
    whole = np.array([[0, len(rows), 0]], np.int64)
    return EncodedPiece(rows, whole, note_index, program, pitch, content_md5(table))


def describe_corpus(folder: Path, options: BuildOptions) -> None:
    """Write the file that says what the sequences of a folder are."""
    if options.encoding == "octuple":
        write_text(folder / "dict.txt", dictionary_text())
    else:
        write_meta(folder, options.encoding)
