"""Features of a performance against the score of the same bars: tempo, touch and pedalling note by note.

``score_features(performance, score)`` aligns both (:mod:`.alignment`) and describes how the performance
departs from the score. No rating and no other performance is needed. A score compared with itself departs by
nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from musicbert.arrays import Floats
from musicbert.features.against_score.alignment import written
from musicbert.features.against_score.pedalling import pedalling
from musicbert.features.against_score.reading import Reading, reading
from musicbert.features.against_score.tempo import tempo
from musicbert.features.against_score.touch import touch
from musicbert.features.playing import SCALE, playing
from musicbert.midi.score import Score

__all__ = ["SCORE_FEATURES", "score_features"]

_GROUPS: dict[str, Callable[[Reading], dict[str, float]]] = {
    "tempo": tempo,
    "touch": touch,
    "pedalling": pedalling,
}

#: name -> group, in the order of the columns of :func:`score_features`.
SCORE_FEATURES: dict[str, str] = {
    name: group
    for group, describe in _GROUPS.items()
    for name in describe(reading(playing(SCALE), written(SCALE)))
}


def score_features(performance: Score, score: Score) -> Floats:
    """Describe how a performance departs from its score, in the order of :data:`SCORE_FEATURES`.

    Parameters
    ----------
    performance
        What was played. Times in seconds count, tempo marks do not.
    score
        The score of the same bars. Ticks count as quarter notes, tempo and velocities are ignored.

    Returns
    -------
    [shape=(k,), float64], finite; the units are given in each group's file

    Raises
    ------
    MidiError
        ``"no-notes"``: one has no pitched note; ``"no-match"``: these are not the same bars;
        ``"too-many-notes"``: they are too long to align.
    """
    read = reading(playing(performance), written(score))
    return np.array([value for describe in _GROUPS.values() for value in describe(read).values()], np.float64)
