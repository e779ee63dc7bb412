"""Masked notes: what to hide, how the tokens in their place are chosen, and the result.

Used by :mod:`musicbert.predict.fill`, which describes the orders.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, get_args

import numpy as np

from musicbert.arrays import Bools, Ints, Singles
from musicbert.atomic import write_bytes
from musicbert.encoding import FIELD_SIZES, FIELDS, N_FIELDS, Policies, decode
from musicbert.encoding.changes import changed_score
from musicbert.encoding.octuple import DRUM_PROGRAM
from musicbert.encoding.quantise import MAX_POSITIONS
from musicbert.errors import ConfigError
from musicbert.midi import Score, edit_midi

Order = Literal["once", "confident", "notes", "tokens"]
#: earlier notes of a program that the penalty for repetition looks at
REPETITION_NOTES = 8
_BAR, _PROGRAM = 0, 2


@dataclass(frozen=True)
class FillOptions:
    """How tokens are chosen."""

    #: see :mod:`musicbert.predict.fill`
    order: Order = "once"
    #: passes of the order ``confident``
    steps: int = 8
    #: logits are divided by it before one is drawn; 0: the most probable token. A number, or one for each
    #: field (0 where missing)
    temperature: float | Mapping[str, float] = 0.0
    #: draw only among so many of the most probable tokens; 0: all
    top_k: int = 0
    #: draw only among the most probable tokens that together have this probability, in 0-1
    top_p: float = 1.0
    #: field -> values that may be chosen, as codes of the encoding; bars as bars of the piece
    allow: Mapping[str, Sequence[int]] = field(default_factory=dict)
    #: 1: off. The probability of a value is divided by it for each of the last `REPETITION_NOTES` notes of
    #: the program that have the value. A number is for ``pitch``; or one for each field
    repetition_penalty: float | Mapping[str, float] = 1.0
    #: no two notes of a program begin together on one pitch, unless the music has them or no value is left
    distinct: bool = False
    #: notes before and after what is hidden that the model sees; None: all that fit into its windows
    context: int | None = None

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise ValueError(f"order {self.order!r} is not one of {get_args(Order)}")
        if self.steps < 1 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError("steps is at least 1, top_k at least 0 and top_p in 0-1")
        for given, least, what in (
            (self.temperature, 0, "a temperature"),
            (self.repetition_penalty, 1, "a penalty for repetition"),
        ):
            by_field = isinstance(given, Mapping)
            _check_fields(given if by_field else ())
            if any(not least <= value < np.inf for value in (given.values() if by_field else [given])):
                raise ValueError(f"{what} is at least {least} and finite")
        if self.context is not None and self.context < 1:
            raise ValueError("context is at least 1 note")
        _check_fields(self.allow)
        for name, allowed in self.allow.items():
            size = MAX_POSITIONS if name == "bar" else FIELD_SIZES[FIELDS.index(name)]
            if not allowed or min(allowed) < 0 or max(allowed) >= size:
                raise ValueError(f"allowed values of {name} are in 0-{size - 1}, and at least one")

    def heat(self, number: int) -> float:
        """Temperature of a field, by number."""
        if isinstance(self.temperature, Mapping):
            return float(self.temperature.get(FIELDS[number], 0.0))
        return float(self.temperature)

    def penalty(self, number: int) -> float:
        """Penalty for repetition of a field, by number."""
        if isinstance(self.repetition_penalty, Mapping):
            return float(self.repetition_penalty.get(FIELDS[number], 1.0))
        return float(self.repetition_penalty) if FIELDS[number] == "pitch" else 1.0


@dataclass(frozen=True, eq=False)
class Original:
    """Music that was filled: the score, its rows and notes by these policies, and the bytes of its file."""

    score: Score
    rows: Ints
    note_index: Ints
    policies: Policies
    data: bytes | None = None


@dataclass(frozen=True, eq=False)
class Filled:
    """A piece with its hidden tokens filled in.

    ``rows`` [shape=(n, 8), int64] are in the order of the piece. ``mask`` [shape=(n, 8), bool] is true at
    what was hidden. ``probability`` [shape=(n, 8), float32, 0-1] is that of the chosen token, at temperature
    1, among the possible tokens of its field; NaN where nothing was hidden. ``distributions``: field -> (rows
    [shape=(m,), int64], probabilities [shape=(m, size of the field), float32]) of its hidden tokens, in the
    order of the rows, when each was chosen. ``original`` is the music that the rows came from, where they
    were not given themselves.
    """

    rows: Ints
    mask: Bools
    probability: Singles
    distributions: Mapping[str, tuple[Ints, Singles]]
    original: Original | None = None

    def __repr__(self) -> str:
        return f"Filled({len(self.rows)} notes, {int(self.mask.sum())} tokens filled in)"

    def sorted_rows(self) -> Ints:
        """Rows in the order of ``encode``: a filled position may belong elsewhere [shape=(n, 8), int64]."""
        return self.rows[np.lexsort(self.rows.T[::-1])]

    def score(self) -> Score:
        """Return the music: the original with new values of hidden fields, or else the rows decoded."""
        if self.original is None:
            return decode(self.sorted_rows())
        whole = self.original
        return changed_score(whole.score, whole.note_index, whole.rows, self.rows, whole.policies)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the music to a MIDI file, whole or not at all.

        Where the source was a file, only the hidden fields of notes change in it: all other events, tracks
        and channels are as they were (`musicbert.midi.edit_midi`). Raises `MidiError` ``bad-value`` for what
        the file cannot hold.
        """
        score = self.score()
        if self.original is None or self.original.data is None:
            score.save(path)
        else:
            given = not self.mask[:, _PROGRAM].any()  # other instruments were asked for, not filled in
            data = edit_midi(self.original.data, self.original.score, score, change_instruments=given)
            write_bytes(path, data)


def _check_fields(names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        raise ValueError(f"no field {', '.join(map(repr, unknown))}; fields are {', '.join(FIELDS)}")


def choose_mask(
    rows: Ints,
    *,
    fields: Sequence[str] = ("pitch",),
    notes: Sequence[int] | None = None,
    bars: tuple[int, int] | None = None,
    programs: Sequence[int] | None = None,
    tracks: Sequence[int] | None = None,
    track: Ints | None = None,
    share: float = 1.0,
    seed: int = 0,
) -> Bools:
    """Choose which tokens of a piece to hide (see :meth:`~musicbert.predict.Model.fill`).

    ``track`` [shape=(n,), int64]: track of each row, which ``tracks`` needs.
    Returns [shape=(n, 8), bool]. Raises `ValueError` (unknown field, share outside 0-1, a note or a track
    that the piece does not have).
    """
    _check_fields(fields)
    if not 0 <= share <= 1:
        raise ValueError(f"share is in 0-1, not {share}")
    chosen = _region(rows, notes, bars, tracks, track)
    if programs is not None:
        chosen &= np.isin(rows[:, _PROGRAM], programs)
    left = np.flatnonzero(chosen)
    if share < 1:
        left = np.random.default_rng(seed).permutation(left)[: round(share * len(left))]
    mask = np.zeros((len(rows), N_FIELDS), bool)
    mask[np.ix_(left, np.array([FIELDS.index(name) for name in fields], np.int64))] = True
    return mask


def replace_programs(
    rows: Ints,
    programs: Mapping[int, int],
    *,
    notes: Sequence[int] | None = None,
    bars: tuple[int, int] | None = None,
    tracks: Sequence[int] | None = None,
    track: Ints | None = None,
) -> Ints:
    """Return rows in which other programs play: ``programs`` has old and new ones.

    The other arguments choose notes as those of `choose_mask` do; all others keep their program.
    Raises `ConfigError` (``bad-instrument``): a program outside 0-127, or one that no chosen note has.
    """
    chosen = _region(rows, notes, bars, tracks, track)
    result = rows.copy()
    for old, new in programs.items():
        if not (0 <= old < DRUM_PROGRAM and 0 <= new < DRUM_PROGRAM):
            raise ConfigError(
                "bad-instrument",
                f"Program {old} cannot be replaced by {new}: both are 0-127",
                hint="drums have no pitch, so no instrument replaces them",
            )
        place = chosen & (rows[:, _PROGRAM] == old)
        if not place.any():
            here = ", ".join(map(str, np.unique(rows[chosen, _PROGRAM])))
            raise ConfigError(
                "bad-instrument",
                f"No chosen note has program {old}",
                hint=f"programs of the chosen notes: {here or 'none'}",
            )
        result[place, _PROGRAM] = new
    return result


def _region(
    rows: Ints,
    notes: Sequence[int] | None,
    bars: tuple[int, int] | None,
    tracks: Sequence[int] | None,
    track: Ints | None,
) -> Bools:
    """Rows that these choices have in common [shape=(n,), bool]."""
    chosen = np.ones(len(rows), bool)
    if notes is not None:
        wanted = np.asarray(notes, np.int64)
        if ((wanted < -len(rows)) | (wanted >= len(rows))).any():
            raise ValueError(f"the piece has {len(rows)} notes")
        chosen = np.zeros(len(rows), bool)
        chosen[wanted] = True
    if bars is not None:
        chosen &= (rows[:, _BAR] >= bars[0]) & (rows[:, _BAR] <= bars[1])
    if tracks is not None:
        if track is None:
            raise ValueError("tracks are those of a file or a score: rows have none")
        unknown = np.setdiff1d(tracks, track)
        if len(unknown):
            raise ValueError(
                f"no notes in track {', '.join(map(str, unknown))}; tracks with notes: "
                f"{', '.join(map(str, np.unique(track)))}"
            )
        chosen &= np.isin(track, tracks)
    return chosen
