"""The one family of errors that musicbert raises for bad input.

Every error carries a stable, kebab-case ``reason`` (safe to test for and to write into a ledger), the file it
is about, and a ``hint``: what to do next. Programming mistakes raise the usual built-in errors instead.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike, fspath


class MusicBertError(Exception):
    """Bad input: ``reason`` (such as ``"no-notes"``), one sentence, the file or archive member, a hint."""

    def __init__(
        self, reason: str, message: str, *, path: str | PathLike[str] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.path = None if path is None else fspath(path)
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        then = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message} [{self.reason}]{then}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.reason, self.message, self.path, self.hint)


def _rebuild(
    kind: type[MusicBertError], reason: str, message: str, path: str | None, hint: str | None
) -> MusicBertError:
    """Make an error again on the other side of a process boundary."""
    return kind(reason, message, path=path, hint=hint)


class MidiError(MusicBertError):
    """A MIDI file that cannot be read, or music that cannot be encoded."""


class RatingError(MusicBertError):
    """A table of ratings, or a label map, that cannot be used."""


class DatasetError(MusicBertError):
    """An archive, a split, or a binarised data set that cannot be used."""


class ConfigError(MusicBertError, ValueError):
    """A setting that cannot be used, whatever the data; a `ValueError` too."""


class CheckpointError(MusicBertError):
    """A checkpoint that is missing, unsafe, damaged, or of another model."""


def first_line(error: BaseException) -> str:
    """What an error says in one line: its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return "did you mean NAME?" for the known name that is most like an unknown one, or None."""
    known = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), known, 1)
    return f"did you mean {known[close[0]]}?" if close else None
