"""The stable path of what reads MIDI files from a folder or an archive (`musicbert.corpus.files.archive`)."""

from musicbert.corpus.files.archive import ArchiveLimits, Member, MidiSource, copy_base, stem

__all__ = ["ArchiveLimits", "Member", "MidiSource", "copy_base", "stem"]
