"""MIDI files in and out: `Score`, `read_score`, `write_midi`. The only door to symusic and miditoolkit."""

from musicbert.midi.limits import ReadLimits
from musicbert.midi.reader import read_score
from musicbert.midi.score import Score
from musicbert.midi.writer import midi_bytes, write_midi

__all__ = ["ReadLimits", "Score", "midi_bytes", "read_score", "write_midi"]
