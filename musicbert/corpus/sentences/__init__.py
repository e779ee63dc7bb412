"""MusicBERT's four downstream tasks: pairs of phrases (next, acc), genres and styles."""
