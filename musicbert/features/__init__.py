"""Hand-made features of a performance: the baseline that a learned model has to beat.

``features(score)`` describes one piece by finite numbers of five groups (timing, velocity, articulation,
pedal, pitch), one file a group. Only what is played is used, in seconds. File names, tempo marks and time
signatures are ignored, since they would give away performer and edition: scaling ticks and tempo together
changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping

import numpy as np

from musicbert.arrays import Floats
from musicbert.features.articulation import articulation
from musicbert.features.pedal import pedal
from musicbert.features.pitch import pitch
from musicbert.features.playing import SCALE, Playing, Steps, playing
from musicbert.features.timing import timing
from musicbert.features.velocity import velocity
from musicbert.midi.score import Score

__all__ = ["FEATURES", "features"]

_GROUPS: dict[str, Callable[[Playing], dict[str, float]]] = {
    "timing": timing,
    "velocity": velocity,
    "articulation": articulation,
    "pedal": pedal,
    "pitch": pitch,
}

#: what each group reads of a `Playing`
_READS = {
    "timing": ("onset", "pitch", "span"),
    "velocity": ("onset", "pitch", "span", "velocity"),
    "articulation": ("onset", "pitch", "offset", "velocity"),
    "pedal": ("onset", "pitch", "offset", "sustain", "soft", "sostenuto"),
    "pitch": ("onset", "pitch", "offset"),
}

#: name -> group, in the order of the columns of :func:`features`.
FEATURES: dict[str, str] = {
    name: group for group, describe in _GROUPS.items() for name in describe(playing(SCALE))
}


def features(score: Score, memo: MutableMapping[bytes, dict[str, float]] | None = None) -> Floats:
    """Describe one performance by finite numbers [shape=(k,), float64], in the order of :data:`FEATURES`.

    The units are given in each group's file. Drum notes are ignored. ``memo``: filled with groups by what
    they read, so that versions of one performance in other calls share what they have in common.

    Raises
    ------
    MidiError
        ``"no-notes"``: there is no pitched note.
    """
    play = playing(score)
    values: list[float] = []
    for group, describe in _GROUPS.items():
        if memo is None:
            found = describe(play)
        elif (key := _key(play, group)) in memo:
            found = memo[key]
        else:
            found = memo[key] = describe(play)
        values += found.values()
    return np.array(values, np.float64)


def _key(play: Playing, group: str) -> bytes:
    """Name of a group with all that it reads."""
    digest = hashlib.blake2b(group.encode())
    for name in _READS[group]:
        column = getattr(play, name)
        for array in (column.time, column.value) if isinstance(column, Steps) else (np.atleast_1d(column),):
            digest.update(len(array).to_bytes(8, "little") + array.tobytes())
    return digest.digest()
