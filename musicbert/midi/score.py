"""`Score`: one piece of music as NumPy columns, in ticks."""

from dataclasses import dataclass
from os import PathLike

import numpy as np

from musicbert.arrays import Ints
from musicbert.midi.columns import DEFAULT_BPM, ScoreColumns
from musicbert.midi.writer import write_midi

#: Resolution of the scores that `piano_score` makes.
TICKS_PER_BEAT = 480


@dataclass(frozen=True, eq=False)
class Score(ScoreColumns):
    """One piece of music; its columns are those of `musicbert.midi.columns.ScoreColumns`.

    Examples
    --------
    >>> score = read_score("piece.mid")  # doctest: +SKIP
    >>> score.pitch[score.track == 0], score.seconds(score.onset)  # doctest: +SKIP
    """

    def __repr__(self) -> str:
        return (
            f"Score({len(self)} notes, {len(set(self.track.tolist()))} tracks, "
            f"{self.ticks_per_beat} ticks per beat)"
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the score as a Standard MIDI File (see `musicbert.midi.writer`), whole or not at all."""
        write_midi(self, path)


def piano_score(onset: Ints, offset: Ints, pitch: Ints, velocity: Ints) -> Score:
    """One piano track in 4/4 at 120 BPM, from columns [shape=(n,), int64] in ticks of 1/480 quarter note."""
    zeros, start = np.zeros(len(onset), np.int64), np.zeros(1, np.int64)
    return Score(
        ticks_per_beat=TICKS_PER_BEAT,
        onset=onset,
        offset=offset,
        pitch=pitch,
        velocity=velocity,
        program=zeros,
        drum=zeros.astype(np.bool_),
        track=zeros,
        tempo_tick=start,
        tempo_bpm=np.array([DEFAULT_BPM]),
        metre_tick=start,
        metre_numerator=start + 4,
        metre_denominator=start + 4,
    )
