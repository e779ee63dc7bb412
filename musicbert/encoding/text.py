"""Rows as text lines and back.

A line is eight ``<s>``, the notes' tokens ``<j-v>``, and seven ``</s>``, single spaces between: fairseq's
binariser appends the eighth ``</s>``. A line of n notes has ``8 (n + 2) - 1`` tokens.
"""

import hashlib
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.vocabulary import FIELD_OFFSETS, FIELD_SIZES, N_FIELDS, TOKENS, check_rows
from musicbert.errors import MidiError

_IDS = {token: index for index, token in enumerate(TOKENS)}
_BEFORE, _AFTER = " ".join(["<s>"] * N_FIELDS), " ".join(["</s>"] * (N_FIELDS - 1))
#: Notes after which upstream's ``encoding_to_str`` stops.
_STR_NOTES = 1000


def rows_to_line(rows: ArrayLike) -> str:
    """Write rows (bars 0-255) as one line, without a line break; raises as `check_rows`."""
    ids = check_rows(rows) + np.array(FIELD_OFFSETS)
    return " ".join([_BEFORE, *map(TOKENS.__getitem__, ids.reshape(-1).tolist()), _AFTER])


def line_to_rows(line: str) -> Ints:
    """Read rows from a line, ignoring ``<s>`` and ``</s>``.

    Raises `MidiError` (``bad-value``: an unknown token, ``<mask>``, ``<pad>``, ``<unk>``, or a token in the
    wrong column).
    """
    tokens = [token for token in line.split() if token not in ("<s>", "</s>")]
    if len(tokens) % N_FIELDS:
        raise MidiError("bad-value", f"{len(tokens)} tokens are not a multiple of {N_FIELDS}")
    try:
        ids = np.array([_IDS[token] for token in tokens], np.int64).reshape(-1, N_FIELDS)
    except KeyError as error:
        raise MidiError("bad-value", f"unknown token {error.args[0]!r}") from error
    return check_rows(ids - np.array(FIELD_OFFSETS))


def encoding_to_str(rows: ArrayLike) -> str:
    """Upstream's function of this name: the first 1,000 rows, without those of bar 256 and later."""
    table = check_rows(np.asarray(rows)[:_STR_NOTES], bars=1 << 16)
    return rows_to_line(table[table[:, 0] < FIELD_SIZES[0]])


def str_to_encoding(line: str) -> list[tuple[int, ...]]:
    """Upstream's function of this name: tuples of eight, columns taken to be in order.

    Every token with an "s" (``<s>``, ``</s>``, ``<mask>``) is left out.
    Raises `MidiError` (``bad-value``) where upstream raises ValueError (``<pad>``, ``<unk>``) or fails an
    assertion (length).
    """
    try:
        values = [int(token[3:-1]) for token in line.split() if "s" not in token]
    except ValueError as error:
        raise MidiError("bad-value", f"not a token of a note: {error}") from error
    if len(values) % N_FIELDS:
        raise MidiError("bad-value", f"{len(values)} tokens are not a multiple of {N_FIELDS}")
    return [tuple(values[at : at + N_FIELDS]) for at in range(0, len(values), N_FIELDS)]


def content_md5(rows: ArrayLike) -> str:
    """Hash by which upstream finds duplicate pieces: the MD5 of Python's ``str`` of all (program, pitch)."""
    table = np.asarray(rows)
    if table.dtype != np.int64 or table.ndim != 2:
        table = check_rows(rows, bars=1 << 16)
    pairs = table[:, 2:4]  # no other column counts
    codes = pairs[:, 0] * FIELD_SIZES[3] + pairs[:, 1]
    if len(pairs) and (pairs.min() < 0 or (pairs.max(axis=0) >= FIELD_SIZES[2:4]).any()):
        check_rows(table, bars=1 << 16)  # raises, naming the row
    text = ", ".join(map(_pair_texts().__getitem__, codes.tolist()))
    text = f"({text},)" if len(codes) == 1 else f"({text})"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@cache
def _pair_texts() -> list[str]:
    """``str`` of each pair (program, pitch), pitch the fastest."""
    return [str((program, pitch)) for program in range(FIELD_SIZES[2]) for pitch in range(FIELD_SIZES[3])]
