"""`analyse`: one piece of music answered in one object.

>>> analysis = musicbert.analyse("piece.mid")  # doctest: +SKIP
>>> analysis.profile.values()["Timing Stable - Unstable"]  # doctest: +SKIP
0.43
>>> analysis.to_html("piece.html")  # doctest: +SKIP
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from musicbert.analysis.applicability import TEMPO_TIMING, Reason, measures
from musicbert.analysis.profile import Profile, make_profile
from musicbert.arrays import Ints
from musicbert.atomic import write_bytes, write_text
from musicbert.midi import read_score
from musicbert.midi.reader import name_of
from musicbert.midi.score import Score

if TYPE_CHECKING:
    from musicbert.analysis.model import ProfileModel


@dataclass(frozen=True)
class Track:
    """A track of the file: ``program`` is General MIDI, -1 for drums."""

    name: str
    program: int
    notes: int


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is known of a piece.

    Attributes
    ----------
    name, notes, seconds, bars, tracks
        The file, its number of notes, its length, its bars by its own time signatures, its tracks.
    profile
        How a performance is heard, or None.
    reasons
        Why there is no profile, each in words with the measure behind it.
    layers
        Melody, chords, keys, beats and downbeats (`musicbert.analysis.layers`), or None.
    outputs
        Further outputs of a model of one's own (`musicbert.analysis.own_model`): head -> name -> score.
    warnings
        What a reader should know of this answer.
    score
        The music itself.
    """

    name: str
    notes: int
    seconds: float
    bars: int
    tracks: tuple[Track, ...]
    score: Score = field(repr=False)
    profile: Profile | None = None
    reasons: tuple[Reason, ...] = ()
    layers: Any = None
    outputs: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        from musicbert.analysis.tables import layers_dict

        return {
            "file": self.name,
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
            "bars": self.bars,
            "tracks": [dict(vars(track)) for track in self.tracks],
            "profile": None if self.profile is None else self.profile.as_dict(),
            "no_profile_because": [reason.as_dict() for reason in self.reasons],
            "layers": layers_dict(self.layers),
            **({"outputs": self.outputs} if self.outputs else {}),
            "warnings": list(self.warnings),
        }

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """JSON text; written to ``path`` where one is given."""
        return _written(json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n", path)

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """A table: a line a dimension of the whole piece and of each passage, and a line a reason."""
        from musicbert.analysis.tables import csv_of

        return _written(csv_of([self]), path)

    def to_text(self, *, width: int = 100) -> str:
        """What `musicbert analyse` prints."""
        from musicbert.analysis.text import text_of

        return text_of(self, width=width)

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """One page that needs nothing else, for a browser or a printer."""
        from musicbert.analysis.page import page_of

        return _written(page_of([self]), path)

    def to_midi(self, path: str | PathLike[str]) -> None:
        """Write the music with markers (chords, keys, passages), and the melody as a track of its own.

        Raises `MidiError` for what the format cannot hold.
        """
        from musicbert.analysis.marked_midi import marked_midi

        write_bytes(path, marked_midi(self))


def _written(text: str, path: str | PathLike[str] | None) -> str:
    if path is not None:
        write_text(path, text)
    return text


def analyse(
    source: Any,
    *,
    model: str | PathLike[str] | ProfileModel | None = None,
    coverage: float = 0.8,
    layers: bool = True,
    name: str | None = None,
    device: str | None = None,
) -> Analysis:
    """Answer what the package knows of one piece.

    Parameters
    ----------
    source
        Anything that `read_score` takes: path, bytes, binary file object, `Score`.
    model
        What makes the profile: None for the model that comes with the package (PercePiano's 19 dimensions), a
        `ProfileModel`, or a model of one's own: a folder of `musicbert finetune`, a checkpoint with heads, a
        saved committee (``.npz``).
    coverage
        Share of unknown music whose mean rating lies in the ranges: 0.8 or 0.9.
    layers
        Whether to find melody, chords, keys and beats.
    name
        Name of the piece; by default that of the file.
    device
        Of a network of one's own: ``cpu``, ``cuda``, ...

    Raises
    ------
    MidiError
        The reasons of `read_score`.
    CheckpointError, DatasetError
        The model cannot be opened.
    ValueError
        ``coverage`` is not a level of the model.
    """
    from musicbert.analysis.model import ProfileModel, find_profile, load_profile_model

    score = read_score(source, name=name)
    profile: Profile | None = None
    reasons: tuple[Reason, ...] = ()
    outputs: dict[str, dict[str, float]] = {}
    if model is None or isinstance(model, ProfileModel) or find_profile(model) is not None:
        opened = (
            model
            if isinstance(model, ProfileModel)
            else load_profile_model(*([] if model is None else [model]))
        )
        if coverage not in opened.ranges.levels:
            levels = " or ".join(map(str, opened.ranges.levels))
            raise ValueError(f"coverage is {levels} for this model, not {coverage}")
        profile, reasons = make_profile(score, opened, coverage=coverage)
    else:
        from musicbert.analysis.own_model import own_answers

        profile, outputs = own_answers(score, model, coverage=coverage, device=device)
    return Analysis(
        name=name or name_of(source) or "",
        notes=len(score),
        seconds=float(score.seconds(score.offset).max() - score.seconds(score.onset).min()),
        bars=len(bar_lines(score)),
        tracks=_tracks(score),
        score=score,
        profile=profile,
        reasons=reasons,
        layers=_layers(score) if layers else None,
        outputs=outputs,
        warnings=_warnings(score, profile),
    )


def _layers(score: Score) -> Any:
    try:
        from musicbert.analysis.layers import music_layers
    except ImportError:
        return None
    return music_layers(score)


def bar_lines(score: Score) -> Ints:
    """Ticks at which bars begin, from the first to the one of the last onset [shape=(bars,), int64]."""
    last = int(score.onset.max())
    tick = [0, *score.metre_tick.tolist()]
    length = [4 * score.ticks_per_beat]
    pairs = zip(score.metre_numerator.tolist(), score.metre_denominator.tolist(), strict=True)
    length += [max(4 * score.ticks_per_beat * n // d, 1) for n, d in pairs]
    runs = [
        np.arange(start, min(stop, last + 1), step)
        for start, stop, step in zip(tick, [*tick[1:], last + 1], length, strict=True)
    ]
    return np.concatenate(runs).astype(np.int64)


def _tracks(score: Score) -> tuple[Track, ...]:
    result = []
    for track in np.unique(score.track).tolist():
        mine = score.track == track
        title = score.track_name[track] if track < len(score.track_name) else ""
        for drum, program in sorted(
            {*zip(score.drum[mine].tolist(), score.program[mine].tolist(), strict=True)}
        ):
            here = mine & (score.drum == drum) & (score.program == program)
            result.append(Track(title, -1 if drum else program, int(here.sum())))
    return tuple(result)


def _warnings(score: Score, profile: Profile | None) -> tuple[str, ...]:
    result = [f"{remark[0].upper()}{remark[1:]}." for remark in score.remarks]
    if profile is None or score.notation:
        return tuple(result)
    m = measures(score)
    if m["tempo_changes_per_quarter"] >= TEMPO_TIMING and m["on_grid_share"] >= 0.5:
        result.append(
            "The timing is in the tempo track, as in files made by hand on a computer: chords are "
            "struck exactly together, "
            "which no rated performance has."
        )
    if not np.isin(score.control_number, 64).any():
        result.append("The file has no sustain pedal: what is said of the pedal is of playing without it.")
    return tuple(result)
