"""MIDI files in and out: `Score`, `read_score`, `write_midi`. The only door to symusic and miditoolkit."""

from musicbert.midi.channels import programs_elsewhere
from musicbert.midi.edit import edit_midi
from musicbert.midi.limits import ReadLimits
from musicbert.midi.reader import read_bytes, read_score
from musicbert.midi.score import Score
from musicbert.midi.writer import midi_bytes, write_midi

__all__ = [
    "ReadLimits",
    "Score",
    "edit_midi",
    "midi_bytes",
    "programs_elsewhere",
    "read_bytes",
    "read_score",
    "write_midi",
]
