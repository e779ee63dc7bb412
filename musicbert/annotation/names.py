"""Segment names: ``<piece>_<bars>bars_<performer>_<number>``.

Both rating sets name a file by the music and by who plays it: ``Schubert_D960_mv3_8bars_12_05.wav``,
``Beethoven_WoO80_var27_8bars_Score2_15.mid``, ``Schubert_D935_no.3_4bars_1_25`` (a dot inside the name, so
only the last extension may be cut). The number is that of the segment within its piece at one length. A copy
made by a browser ends in ``(1)``. ``score`` and ``Score`` are the same performer: the rendered score.

Verified in ``tests/unit/annotation/test_names.py`` and on every name of both sets in
``tests/parity/test_labels_golden.py``.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from musicbert.annotation.dimensions import RATING_SETS
from musicbert.errors import RatingError

#: blanks, and what cannot be seen: zero width, soft hyphen, byte order, directions of writing
_INVISIBLE = (
    "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
    + "\u200b\u200e\u200f\u2060\ufeff\u00ad\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_EXTENSION = re.compile(
    r"\.(midi?|kar|smf|rmi|wav|mp3|flac|ogg|m4a|aac|aiff?|mp4|webm)$", re.IGNORECASE
)  # what is rated is often the sound, a video, or a link to it
_SCORE = re.compile(r"_score(2?)(?=_\d+(?:\(\d+\))?$)", re.IGNORECASE)
_VARIATION = re.compile(r"thema|theme|var\d+", re.IGNORECASE)
_DIGITS = re.compile(r"(\d+)")
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def normal(value: Any) -> Any:
    """Normalise a cell of a table: text without surrounding blanks in Unicode's form NFC, also in lists.

    Marks that cannot be seen, which copied text brings along, are blanks.
    """
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).strip(_INVISIBLE)
    if isinstance(value, list | tuple):
        return [normal(element) for element in value]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [normal(element) for element in value.tolist()]
    return value


def cell_name(value: Any) -> str:
    """Name that a cell of a table holds (of a file, group, class or person): ``3``, ``3.0`` are ``"3"``."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    text = str(normal(value))
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def cell_number(value: Any) -> float:
    """Number in a cell; raises `TypeError`, `ValueError`, also for ``4_4``, which Python reads as 44."""
    if isinstance(value, str) and "_" in value:
        raise ValueError(f"{value!r} is not a number")
    return float(value)


@dataclass(frozen=True, slots=True)
class SegmentName:
    """The parts of a segment's name.

    ``id`` is the name without folder and extension, with the performer ``Score`` spelt so. The movement
    (``mv3``) is the last part of the piece's name, ``work`` (``Schubert_D960``) the rest; ``bars`` is the
    length in bars of the score; ``performer`` (``"12"``, ``"Score2"``) identifies a player within one work;
    segments are numbered from 1; ``copy`` is 1 for ``...(1)``.
    """

    id: str
    work: str
    movement: str
    bars: int
    performer: str
    number: int
    copy: int = 0

    @property
    def piece(self) -> str:
        """Work and movement, such as ``Schubert_D960_mv3``."""
        return f"{self.work}_{self.movement}" if self.work else self.movement

    @property
    def region(self) -> str:
        """The music without the performer, such as ``Schubert_D960_mv3_8bars_5``."""
        return f"{self.piece}_{self.bars}bars_{self.number}"


def segment_id(filename: str) -> str:
    """Turn a file name into the identifier of its segment.

    Folder, surrounding blanks and one known extension are cut; ``_score_`` becomes ``_Score_``.

    Examples
    --------
    >>> segment_id("segmented_midi/Schubert_D960_mv2_8bars_score_01.mid")
    'Schubert_D960_mv2_8bars_Score_01'
    >>> segment_id("Schubert_D935_no.3_4bars_1_25.wav")
    'Schubert_D935_no.3_4bars_1_25'
    """
    stem = _EXTENSION.sub(
        "", PurePosixPath(unicodedata.normalize("NFC", filename).replace("\\", "/")).name.strip()
    )
    return _SCORE.sub(r"_Score\1", stem)


def piece_id(filename: str) -> str:
    r"""Identifier of a piece of any name: its file as a table names it, without extension.

    Examples
    --------
    >>> piece_id("stimuli\\Song 1.wav")
    'stimuli/Song 1'
    """
    path = unicodedata.normalize("NFC", filename).replace("\\", "/").strip().removeprefix("./")
    return _EXTENSION.sub("", path)


def parse_segment(filename: str) -> SegmentName:
    """Take a segment's name apart.

    Raises `RatingError`: ``bad-name`` when the name follows the pattern of none of `RATING_SETS`.
    """
    name = segment_id(filename)
    patterns = dict.fromkeys(rating_set.segment for rating_set in RATING_SETS.values())
    match = next((match for pattern in patterns if (match := pattern.fullmatch(name))), None)
    if match is None:
        raise RatingError(
            "bad-name",
            f"the segment name {name!r} cannot be read",
            hint="a name is <piece>_<bars>bars_<performer>_<number>, e.g. Schubert_D960_mv3_8bars_12_05",
        )
    parts = match.groupdict()
    work, _, movement = parts["piece"].rpartition("_")
    return SegmentName(
        id=name,
        work=work,
        movement=movement,
        bars=int(parts.get("bars") or 0),
        performer=parts["performer"],
        number=int(parts["number"]),
        copy=int(parts.get("copy") or 0),
    )


def performer_of(name: str) -> str:
    """Performer of a segment (see `parse_segment`)."""
    return parse_segment(name).performer


def piece_of(name: str) -> str:
    """Piece of a segment: a movement, or a whole set of variations (theme and ``var1`` ... are one piece)."""
    segment = parse_segment(name)
    return segment.work if segment.work and _VARIATION.fullmatch(segment.movement) else segment.piece


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``"2"`` before ``"10"`` and numbers before words."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(text) if part
    )


#: movement of D960 -> number of a 16-bar segment -> numbers of the 8-bar segments inside
EIGHT_BAR_PARTS: dict[str, dict[int, tuple[int, ...]]] = {
    "mv2": {
        1: (1, 2), 2: (3, 4), 3: (5,), 4: (6, 7), 5: (8, 9), 6: (10, 11), 7: (12, 13), 8: (14, 15),
        9: (16, 17),
    },
    "mv3": {
        1: (1, 2), 2: (3, 4), 3: (5, 6), 4: (7, 8), 5: (9, 10), 6: (11,), 7: (12, 13), 8: (14, 15),
        9: (16, 17), 10: (18, 19, 20), 11: (21, 22), 12: (23, 24), 13: (25, 26), 14: (27, 28),
        15: (29, 30), 16: (31, 32), 17: (33, 34), 18: (35, 36), 19: (37,),
    },
}  # fmt: skip

#: movement of D960 -> 8-bar segments that are the same bars of the score played again
LITERAL_REPEATS: dict[str, tuple[tuple[int, ...], ...]] = {
    "mv2": (),
    "mv3": (
        (1, 27), (2, 28), (3, 12, 29), (4, 13, 30), (5, 14, 31), (6, 15, 32), (7, 16, 33), (8, 17, 34),
        (9, 18, 35), (10, 19, 36), (11, 20, 37), (21, 22), (23, 25), (24, 26),
    ),
}  # fmt: skip

#: (movement, bars) -> numbers of the published test segments
_PUBLISHED_TEST: dict[tuple[str, int], frozenset[int]] = {
    ("mv3", 16): frozenset({3, 10}),
    ("mv3", 8): frozenset({5, 6, 19, 20}),
    ("mv2", 16): frozenset({7}),
    ("mv2", 8): frozenset({13, 14}),
}
_D960 = "Schubert_D960"


@cache
def _d960_groups(movement: str) -> dict[tuple[int, int], int]:
    """(bars, number) -> first 8-bar number of its content group, by joining everything that shares bars."""
    parts = EIGHT_BAR_PARTS[movement]
    first: dict[tuple[int, int], int] = {(8, n): n for inside in parts.values() for n in inside}
    links = (*parts.values(), *LITERAL_REPEATS[movement])
    changed = True
    while changed:  # each pass spreads the smallest number along the links; a handful of passes settles it
        changed = False
        for link in links:
            smallest = min(first[8, n] for n in link)
            for n in link:
                changed |= first[8, n] != smallest
                first[8, n] = smallest
    return first | {(16, n): first[8, inside[0]] for n, inside in parts.items()}


def content_group(name: str) -> str:
    """Content group of a segment; two segments in different groups share no bar of the score.

    Of D960 the group's first 8-bar region, such as ``Schubert_D960_mv3_8bars_3``; otherwise the region.
    Raises `RatingError` ``bad-name``.
    """
    segment = parse_segment(name)
    if segment.work == _D960 and segment.movement in EIGHT_BAR_PARTS:
        first = _d960_groups(segment.movement).get((segment.bars, segment.number))
        if first is not None:
            return f"{segment.piece}_8bars_{first}"
    return segment.region


def content_groups(ids: Iterable[str]) -> dict[str, str]:
    """Content group of every segment: ``{id: group}``."""
    return {name: content_group(name) for name in ids}


def is_test_segment(name: str) -> bool:
    """Whether the published segment split tests on this segment."""
    segment = parse_segment(name)
    if segment.work != _D960:
        return False
    return segment.number in _PUBLISHED_TEST.get((segment.movement, segment.bars), ())
