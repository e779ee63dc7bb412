"""Segment names: ``<piece>_<bars>bars_<performer>_<number>``.

Both rating sets name a file by the music and by who plays it: ``Schubert_D960_mv3_8bars_12_05.wav``,
``Beethoven_WoO80_var27_8bars_Score2_15.mid``, ``Schubert_D935_no.3_4bars_1_25`` (a dot inside the name, so
only the last extension may be cut). The number is that of the segment within its piece at one length. A copy
made by a browser ends in ``(1)``. ``score`` and ``Score`` are the same performer: the rendered score.

Verified in ``tests/unit/annotation/test_names.py`` and on every name of both sets in
``tests/parity/test_labels_golden.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from musicbert.errors import RatingError

__all__ = ["SegmentName", "natural_key", "parse_segment", "performer_of", "piece_of", "segment_id"]

_EXTENSION = re.compile(r"\.(wav|midi?|mp3|flac)$", re.IGNORECASE)
_SCORE = re.compile(r"_score(2?)(?=_\d+(?:\(\d+\))?$)", re.IGNORECASE)
_SEGMENT = re.compile(
    r"(?P<piece>.+)_(?P<bars>\d+)bars_(?P<performer>[^_]+)_(?P<number>\d+)(?:\((?P<copy>\d+)\))?"
)
_VARIATION = re.compile(r"thema|theme|var\d+", re.IGNORECASE)
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class SegmentName:
    """The parts of a segment's name.

    Attributes
    ----------
    id
        Name without folder and extension, performer spelt ``Score`` where it is the score.
    work, movement
        ``Schubert_D960`` and ``mv3``; the movement is the last part of the piece's name.
    bars
        Length in bars of the score.
    performer
        ``"0"``, ``"12"``, ``"Score"``, ``"Score2"``: an identifier within one work.
    number
        Number of the segment, from 1.
    copy
        1 for ``...(1)``, 0 for an original.
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
    stem = _EXTENSION.sub("", PurePosixPath(filename.replace("\\", "/")).name.strip())
    return _SCORE.sub(r"_Score\1", stem)


def parse_segment(filename: str) -> SegmentName:
    """Take a segment's name apart.

    Raises
    ------
    RatingError
        ``bad-name`` when the name does not follow ``<piece>_<bars>bars_<performer>_<number>``.
    """
    name = segment_id(filename)
    match = _SEGMENT.fullmatch(name)
    if match is None:
        raise RatingError(
            "bad-name",
            f"the segment name {name!r} cannot be read",
            hint="a name is <piece>_<bars>bars_<performer>_<number>, e.g. Schubert_D960_mv3_8bars_12_05",
        )
    work, _, movement = match["piece"].rpartition("_")
    return SegmentName(
        id=name,
        work=work,
        movement=movement,
        bars=int(match["bars"]),
        performer=match["performer"],
        number=int(match["number"]),
        copy=int(match["copy"] or 0),
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
