"""An analysis as a MIDI file: the music with markers, and the melody as a track of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from musicbert.arrays import Bools
from musicbert.midi import midi_bytes
from musicbert.midi.score import Score

if TYPE_CHECKING:
    from musicbert.analysis.analysis import Analysis


def marked_midi(analysis: "Analysis") -> bytes:
    """Bytes of the file; notes, tempi and metres are those of the music.

    Markers: keys, chords, and for each passage of a profile the three dimensions in which it differs most
    from the whole piece.
    """
    score, layers = analysis.score, analysis.layers
    markers: list[tuple[int, str]] = []
    for name in ("keys", "chords"):
        title = {"keys": "key ", "chords": ""}[name]
        found = getattr(layers, name, None) or ()
        markers += [(int(segment.start), f"{title}{segment.name}") for segment in found]
    markers += _passages(analysis)
    melody = getattr(layers, "melody", None)
    if melody is not None and melody.any():
        score = with_melody(score, melody)
    return midi_bytes(score, markers=sorted(markers, key=lambda marker: marker[0]))


def with_melody(score: Score, melody: Bools) -> Score:
    """Move the notes of a melody to a new last track, with the controllers of their tracks."""
    new = int(max(score.track.max(), len(score.track_name) - 1)) + 1
    names = [*score.track_name, *[""] * (new - len(score.track_name)), "Melody"]
    sources = np.unique(score.track[melody])
    held = np.flatnonzero(np.isin(score.control_track, sources))
    order = np.argsort(np.concatenate([score.control_tick, score.control_tick[held]]), kind="stable")

    def longer(column: np.ndarray, more: np.ndarray) -> np.ndarray:
        return np.concatenate([column, more])[order]

    return replace(
        score,
        track=np.where(melody, new, score.track),
        track_name=tuple(names),
        control_tick=longer(score.control_tick, score.control_tick[held]),
        control_number=longer(score.control_number, score.control_number[held]),
        control_value=longer(score.control_value, score.control_value[held]),
        control_track=longer(score.control_track, np.full(len(held), new)),
    )


def _passages(analysis: "Analysis") -> list[tuple[int, str]]:
    profile = analysis.profile
    if profile is None or len(profile.parts) < 2:
        return []
    whole = np.array([each.value for each in profile.dimensions])
    result = []
    for part in profile.parts:
        if part.values is None:
            result.append((part.start_tick, f"no profile: {part.reason}"))
            continue
        away = np.array(part.values) - whole
        words = []
        for k in np.argsort(-np.abs(away))[:3].tolist():
            each = profile.dimensions[k]
            words.append(f"more {each.high if away[k] > 0 else each.low}")
        result.append((part.start_tick, ", ".join(words)))
    return result
