"""The music that a corpus must not hold: fingerprints from a list of them, or from MIDI files."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from musicbert.corpus.builder.sources import Entry, list_files
from musicbert.corpus.files.archive import ArchiveLimits
from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.splits.fingerprints import Fingerprint, Fingerprints, fingerprint
from musicbert.errors import DatasetError, MusicBertError
from musicbert.midi import read_score
from musicbert.reuse import hashes_of

SUFFIX = ".npz"
_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<path>.+)")


def name_and_path(source: str) -> tuple[str, str]:
    """Take ``NAME=PATH`` apart; the name of a path alone is empty."""
    match = None if Path(source).exists() else _NAMED.fullmatch(source)
    return (match["name"], match["path"]) if match else ("", source)


def fingerprints_of(
    sources: Iterable[str], progress: Callable[[Iterable[Entry]], Iterable[Entry]] = iter
) -> tuple[Fingerprints, list[Outcome]]:
    """Fingerprints of test pieces, and the outcomes of files that could not be read.

    A source is a file that `Fingerprints.save` wrote, or what `list_files` takes, as ``PATH`` or
    ``NAME=PATH``: then every MIDI file of it is a piece, called by its path, or ``NAME/PATH``.

    Raises `DatasetError`: those of `list_files` and `Fingerprints.load`; ``no-music`` where a source has no
    piece.
    """
    together: dict[str, Fingerprint] = {}
    unread: list[Outcome] = []
    for source in sources:
        name, path = name_and_path(source)
        found: dict[str, Fingerprint] = {}
        if path.lower().endswith(SUFFIX):
            found = Fingerprints.load(path).pieces
        else:
            for entry in progress(list_files([path])):
                member = entry.member
                try:
                    if entry.place is None:
                        raise DatasetError(member.reason or "unreadable", member.detail or "not taken")
                    score = read_score(entry.place.read(ArchiveLimits().member_bytes), name=member.path)
                except MusicBertError as error:
                    unread.append(Outcome(member.name, error.reason, path=member.path, detail=str(error)))
                    continue
                found["/".join(filter(None, (name, member.path)))] = fingerprint(score)
        if not found:
            raise DatasetError("no-music", "There is no test piece in it", path=path)
        together |= found
    return Fingerprints(together), unread


def hashes_of_tests(sources: Iterable[str]) -> dict[str, str]:
    """Hash of every file of the sources, by its name."""
    return {
        f"{source}: {name}": digest
        for source in sources
        for name, digest in hashes_of(name_and_path(source)[1]).items()
    }
