"""Compound words (CP) of M2BERT and MidiBERT: a note as bar, position, pitch and duration."""

from musicbert.encoding.compound_word.chunks import chunk_rows, chunk_values, labels_by_running_index
from musicbert.encoding.compound_word.codec import (
    CompoundWordCodec,
    accepted_for_pretraining,
    encode_compound_words,
)
from musicbert.encoding.compound_word.decoder import bar_numbers, decode
from musicbert.encoding.compound_word.profiles import CLEAN, M2BERT, MIDIBERT, PROFILES, Profile
from musicbert.encoding.compound_word.rows import line_to_rows, rows_to_line
from musicbert.encoding.compound_word.vocabulary import (
    CONTINUE,
    FIELD_SIZES,
    FIELDS,
    HIGH_PITCH,
    LOW_PITCH,
    MASK_ROW,
    NEW,
    PAD_ROW,
    check_rows,
    dictionary,
)

__all__ = [
    "CLEAN",
    "CONTINUE",
    "FIELDS",
    "FIELD_SIZES",
    "HIGH_PITCH",
    "LOW_PITCH",
    "M2BERT",
    "MASK_ROW",
    "MIDIBERT",
    "NEW",
    "PAD_ROW",
    "PROFILES",
    "CompoundWordCodec",
    "Profile",
    "accepted_for_pretraining",
    "bar_numbers",
    "check_rows",
    "chunk_rows",
    "chunk_values",
    "decode",
    "dictionary",
    "encode_compound_words",
    "labels_by_running_index",
    "line_to_rows",
    "rows_to_line",
]
