"""Features of a performance against the score of the same bars: tempo, touch and pedalling note by note.

``score_features(performance, score)`` aligns both (:mod:`.alignment`) and describes how the one departs from
the other. They need no rating and no other performance, only the score; a score compared with itself
departs by nothing. ``SCORE_FEATURES`` names them in order, with their group.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from musicbert.arrays import Floats
from musicbert.features.against_score.alignment import written
from musicbert.features.against_score.pedalling import PEDALLING, pedalling
from musicbert.features.against_score.reading import Reading, reading
from musicbert.features.against_score.tempo import TEMPO, tempo
from musicbert.features.against_score.touch import TOUCH, touch
from musicbert.features.playing import playing
from musicbert.midi.score import Score

__all__ = ["SCORE_FEATURES", "score_features"]

_GROUPS: dict[str, tuple[tuple[str, ...], Callable[[Reading], dict[str, float]]]] = {
    "tempo": (TEMPO, tempo),
    "touch": (TOUCH, touch),
    "pedalling": (PEDALLING, pedalling),
}

#: name -> group, in the order of the columns of :func:`score_features`.
SCORE_FEATURES: dict[str, str] = {name: group for group, (names, _) in _GROUPS.items() for name in names}


def score_features(performance: Score, score: Score) -> Floats:
    """Describe how a performance departs from its score.

    Parameters
    ----------
    performance
        What was played; times in seconds count, tempo marks do not.
    score
        The score of the same bars; ticks count as quarter notes, tempo and velocities are not looked at.

    Returns
    -------
    [shape=(k,), float64], finite, in the order of :data:`SCORE_FEATURES`; the units stand in each group's
    file

    Raises
    ------
    MidiError
        ``"no-notes"`` where one has no pitched note, ``"no-match"`` where these are not the same bars,
        ``"too-many-notes"`` where they are too long to align.
    """
    read = reading(playing(performance), written(score))
    values = {name: value for _, describe in _GROUPS.values() for name, value in describe(read).items()}
    return np.array([values[name] for name in SCORE_FEATURES], np.float64)
