"""Likeness: an index of a folder of music, and the pieces or bars in it that are most like some music."""

from musicbert.similarity.search import Index, Neighbour, open_index
from musicbert.similarity.store import Update, index_folder

__all__ = ["Index", "Neighbour", "Update", "index_folder", "open_index"]
