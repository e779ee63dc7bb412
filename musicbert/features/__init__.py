"""Hand-made features of a performance: the baseline that a learned model has to beat.

``features(score)`` describes one piece by finite numbers of five groups (timing, velocity, articulation,
pedal, pitch), one file a group. Only what is played is used, in seconds. File names, tempo marks and time
signatures are ignored, since they would give away performer and edition: scaling ticks and tempo together
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from musicbert.arrays import Floats
from musicbert.features.articulation import articulation
from musicbert.features.pedal import pedal
from musicbert.features.pitch import pitch
from musicbert.features.playing import SCALE, Playing, playing
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

#: name -> group, in the order of the columns of :func:`features`.
FEATURES: dict[str, str] = {
    name: group for group, describe in _GROUPS.items() for name in describe(playing(SCALE))
}


def features(score: Score) -> Floats:
    """Describe one performance by finite numbers [shape=(k,), float64], in the order of :data:`FEATURES`.

    The units are given in each group's file. Drum notes are ignored.

    Raises
    ------
    MidiError
        ``"no-notes"``: there is no pitched note.
    """
    play = playing(score)
    return np.array([value for describe in _GROUPS.values() for value in describe(play).values()], np.float64)
