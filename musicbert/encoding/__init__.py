"""Pieces as rows of codes, a row a note: OctupleMIDI with its text and windows, compound words, codecs."""

from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.codec import Codec
from musicbert.encoding.codecs import CODECS, get_codec
from musicbert.encoding.decode import decode
from musicbert.encoding.octuple import PieceRows, encode, encode_notes
from musicbert.encoding.performance import (
    KNOWN_INPUTS,
    PERFORMANCE_INPUTS,
    SCORE_INPUTS,
    performance_inputs,
    score_inputs,
)
from musicbert.encoding.policies import COMPATIBLE, Policies
from musicbert.encoding.random_segments import Segment, Window, plan_windows, segments, shift_bars
from musicbert.encoding.text import content_md5, encoding_to_str, line_to_rows, rows_to_line, str_to_encoding
from musicbert.encoding.vocabulary import (
    BOS,
    EOS,
    FIELD_OFFSETS,
    FIELD_SIZES,
    FIELDS,
    MASK,
    N_FIELDS,
    PAD,
    UNK,
    VOCABULARY_SIZE,
    dictionary_text,
    ids_to_rows,
    rows_to_ids,
)

__all__ = [
    "BOS",
    "CODECS",
    "COMPATIBLE",
    "EOS",
    "FIELDS",
    "FIELD_OFFSETS",
    "FIELD_SIZES",
    "KNOWN_INPUTS",
    "MASK",
    "N_FIELDS",
    "PAD",
    "PERFORMANCE_INPUTS",
    "SCORE_INPUTS",
    "UNK",
    "VOCABULARY_SIZE",
    "BeatNotes",
    "Codec",
    "PieceRows",
    "Policies",
    "Segment",
    "Window",
    "content_md5",
    "decode",
    "dictionary_text",
    "encode",
    "encode_notes",
    "encoding_to_str",
    "get_codec",
    "ids_to_rows",
    "line_to_rows",
    "performance_inputs",
    "plan_windows",
    "rows_to_ids",
    "rows_to_line",
    "score_inputs",
    "segments",
    "shift_bars",
    "str_to_encoding",
]
