"""`Score`: one piece of music as NumPy columns, in ticks."""

from dataclasses import dataclass
from os import PathLike

from musicbert.midi.columns import ScoreColumns
from musicbert.midi.writer import write_midi


@dataclass(frozen=True, eq=False)
class Score(ScoreColumns):
    """One piece of music; its columns are those of `musicbert.midi.columns.ScoreColumns`.

    Examples
    --------
    >>> score = read_score("piece.mid")  # doctest: +SKIP
    >>> score.pitch[score.track == 0], score.seconds(score.onset)  # doctest: +SKIP
    """

    def save(self, path: str | PathLike[str]) -> None:
        """Write the score as a Standard MIDI File (see `musicbert.midi.writer`), whole or not at all."""
        write_midi(self, path)
