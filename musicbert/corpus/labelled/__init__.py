"""Labelled sets: pieces with labels of notes or pieces, in three formats on disk, seen in one way."""
