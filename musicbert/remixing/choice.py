"""What a remix changes: bars, tracks and instruments, a share of their notes, fields, drums.

Bars and tracks are counted from 1, as musicians count; tracks are those with notes, in the order of the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from musicbert.arrays import Bools, Ints
from musicbert.encoding import FIELDS
from musicbert.encoding.octuple import DRUM_PROGRAM
from musicbert.errors import ConfigError
from musicbert.midi import Score
from musicbert.midi.instruments import instrument_name, instrument_number
from musicbert.predict import choose_mask, replace_programs

Drums = Literal["keep", "fields", "pattern"]
#: what makes a drum pattern: when which drum sounds, and how loud
PATTERN = ("position", "pitch", "velocity")
_PROGRAM = 2


@dataclass(frozen=True)
class Choice:
    """Part of a piece that is written anew.

    Raises `ConfigError` (``bad-choice``; ``bad-instrument``: see `instrument_number`).
    """

    #: first and last bar, counted from 1; None: all
    bars: tuple[int, int] | None = None
    #: tracks by number, counted from 1, or by name; None: all
    tracks: Sequence[int | str] | None = None
    #: instruments by program (128: drums) or by name; None: all
    instruments: Sequence[int | str] | None = None
    #: share of these notes, in 0-1, drawn with the seed
    share: float = 0.5
    #: what of a note is written anew
    fields: Sequence[str] = ("pitch",)
    #: ``keep``: drums stay; ``fields``: they change as other notes do; ``pattern``: they get new positions,
    #: drums and velocities, whatever the fields
    drums: Drums = "keep"
    #: instrument -> the one that plays in its place, in all notes of these bars and tracks
    replace: Mapping[int | str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bars is not None and not 1 <= self.bars[0] <= self.bars[1]:
            raise _bad("bars are counted from 1, the first before the last", "for example --bars 5-8")
        if self.drums not in get_args(Drums):
            raise _bad(f"drums are {', '.join(get_args(Drums))}, not {self.drums!r}", None)
        unknown = [name for name in self.fields if name not in FIELDS]
        if unknown or not self.fields:
            named = ", ".join(map(repr, unknown)) or "none was given"
            raise _bad(f"unknown field: {named}", f"fields are {', '.join(FIELDS)}")
        if not 0 <= self.share <= 1:
            raise _bad(f"a share is in 0-1, not {self.share}", None)
        if self.drums == "keep" and DRUM_PROGRAM in (self.programs or ()):
            raise _bad(
                "drums are chosen, and kept as they are", "--drums fields or --drums pattern changes them"
            )

    @property
    def programs(self) -> list[int] | None:
        """Programs of the instruments."""
        return None if self.instruments is None else [_number(each) for each in self.instruments]

    @property
    def hidden_fields(self) -> list[str]:
        """Every field that may be written anew, in the order of the encoding."""
        more = PATTERN if self.drums == "pattern" else ()
        return [name for name in FIELDS if name in self.fields or name in more]

    def apply(self, score: Score, rows: Ints, note_index: Ints, seed: int) -> tuple[Ints, Bools]:
        """Rows with other instruments in place [shape=(n, 8), int64], and what is to be written anew (bool).

        ``rows`` and ``note_index`` are those of `encode_notes`. Raises `ConfigError` (``bad-choice``,
        ``bad-instrument``).
        """
        track = score.track[note_index]
        place: dict[str, Any] = {
            "bars": None if self.bars is None else (self.bars[0] - 1, self.bars[1] - 1),
            "tracks": None if self.tracks is None else track_indices(self.tracks, score),
            "track": track,
        }
        # of the rows as they are: a replaced instrument is chosen by the one that the file has
        programs = self.programs if self.programs is not None else [*range(DRUM_PROGRAM), DRUM_PROGRAM]
        melodic = [program for program in programs if program != DRUM_PROGRAM]
        chosen: dict[str, Any] = {"share": self.share, "seed": seed, **place}
        mask = choose_mask(rows, fields=self.fields, programs=melodic, **chosen)
        if self.drums != "keep" and DRUM_PROGRAM in programs:
            fields = PATTERN if self.drums == "pattern" else self.fields
            mask |= choose_mask(rows, fields=fields, programs=[DRUM_PROGRAM], **chosen)
        if not mask.any():
            kept = (
                " (drums are kept: --drums)"
                if self.drums == "keep" and (rows[:, 2] == DRUM_PROGRAM).any()
                else ""
            )
            last = int(rows[-1, 0]) + 1
            raise _bad(
                f"no note is chosen{kept}",
                f"the piece has {last} bars; `musicbert remix FILE --list` shows its tracks and instruments",
            )
        other = {_number(old): _number(new) for old, new in self.replace.items()}
        return replace_programs(rows, other, **place), mask


def list_parts(score: Score, rows: Ints, note_index: Ints) -> list[dict[str, Any]]:
    """Tracks of a piece: number, name, instruments, notes, first and last bar (from 1)."""
    parts = []
    track = score.track[note_index]
    for number, index in enumerate(np.unique(track).tolist(), 1):
        own = rows[track == index]
        programs = np.unique(own[:, _PROGRAM]).tolist()
        parts.append(
            {
                "track": number,
                "name": _name(score, index),
                "instruments": {program: instrument_name(program) for program in programs},
                "notes": len(own),
                "bars": (int(own[:, 0].min()) + 1, int(own[:, 0].max()) + 1),
            }
        )
    return parts


def track_indices(wanted: Sequence[int | str], score: Score) -> list[int]:
    """Indices of tracks with notes by number, from 1, or name; raises `ConfigError` (``bad-choice``)."""
    known = np.unique(score.track).tolist()
    result = []
    for each in wanted:
        if str(each).isdigit() and 1 <= int(each) <= len(known):
            result.append(known[int(each) - 1])
            continue
        named = [index for index in known if _name(score, index).strip().lower() == str(each).strip().lower()]
        if not named:
            shown = ", ".join(f"{k} {_name(score, index)!r}" for k, index in enumerate(known, 1))
            raise _bad(f"there is no track {each!r}", f"tracks are {shown}")
        result += named
    return result


def _name(score: Score, index: int) -> str:
    return score.track_name[index] if index < len(score.track_name) else ""


def _number(instrument: int | str) -> int:
    return instrument_number(str(instrument))


def _bad(message: str, hint: str | None) -> ConfigError:
    return ConfigError("bad-choice", message[0].upper() + message[1:], hint=hint)
