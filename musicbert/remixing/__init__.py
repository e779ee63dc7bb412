"""Remixes: chosen parts of a piece written anew by the language model, in several ranked versions."""

from musicbert.remixing.choice import Choice, list_parts
from musicbert.remixing.folder import write_remixes
from musicbert.remixing.versions import Remix, Remixer, remix

__all__ = ["Choice", "Remix", "Remixer", "list_parts", "remix", "write_remixes"]
