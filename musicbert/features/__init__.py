"""Hand-made features of a performance: the baseline that a learned model has to beat.

``features(score)`` describes one piece by finite numbers of five groups (timing, velocity, articulation,
pedal, pitch), one file a group. Only what is played is used, in seconds: file names, tempo marks and time
signatures give performer and edition away and are never looked at (shifting or rescaling ticks and tempo
together changes nothing). ``FEATURES`` names them in order, with their group.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from musicbert.arrays import Floats
from musicbert.features.articulation import ARTICULATION, articulation
from musicbert.features.pedal import PEDAL, pedal
from musicbert.features.pitch import PITCH, pitch
from musicbert.features.playing import Playing, playing
from musicbert.features.timing import TIMING, timing
from musicbert.features.velocity import VELOCITY, velocity
from musicbert.midi.score import Score

__all__ = ["FEATURES", "features"]

_GROUPS: dict[str, tuple[tuple[str, ...], Callable[[Playing], dict[str, float]]]] = {
    "timing": (TIMING, timing),
    "velocity": (VELOCITY, velocity),
    "articulation": (ARTICULATION, articulation),
    "pedal": (PEDAL, pedal),
    "pitch": (PITCH, pitch),
}

#: name -> group, in the order of the columns of :func:`features`.
FEATURES: dict[str, str] = {name: group for group, (names, _) in _GROUPS.items() for name in names}


def features(score: Score) -> Floats:
    """Describe one performance.

    Parameters
    ----------
    score
        Any score with at least one pitched note; drum notes are ignored.

    Returns
    -------
    [shape=(k,), float64], finite, in the order of :data:`FEATURES`; the units stand in each group's file

    Raises
    ------
    MidiError
        ``"no-notes"`` where no pitched note is left.
    """
    play = playing(score)
    values = {name: value for _, describe in _GROUPS.values() for name, value in describe(play).items()}
    return np.array([values[name] for name in FEATURES], np.float64)
