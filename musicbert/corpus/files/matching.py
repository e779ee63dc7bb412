"""Which MIDI file belongs to which label: one set of rules for tables of labels and for rated segments.

A name is compared in Unicode's form NFC, with forward slashes, without blanks around its parts, and with or
without one known extension (of MIDI, or of the sound that was rated); ``score`` is ``Score``. It names the
file of its path; else those below the folders that it gives; else those of its last part, unless another
label ends in the same. Of several files with the same bytes the first is taken. Verified in
``tests/unit/corpus/files/test_matching.py``.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from musicbert.annotation.names import piece_id, segment_id
from musicbert.corpus.files.archive import Member, MidiSource, copy_base
from musicbert.corpus.files.ledger import NO_LABEL, NO_MIDI, Outcome
from musicbert.errors import DatasetError

#: A second file with the name and the bytes of one that was taken, or a second label of one file.
DUPLICATE = "duplicate-name"
#: Different files have the name of one label.
AMBIGUOUS = "ambiguous-name"


@dataclass(frozen=True)
class Match:
    """Labels and MIDI files, put together."""

    members: list[tuple[str, Member]]  # (name, file) of the labels with a file, in their order
    outcomes: list[Outcome]  # of all others: no MIDI, no label, or a file that cannot be used


def match(names: Iterable[str], source: MidiSource, *, strict: bool = True) -> Match:
    """Put the names of labels and the files of a source together.

    Raises `DatasetError`: ``no-match`` where no label has a file; ``ambiguous-name`` where different files
    have the name of one label (unless ``strict`` is False: that label has none).
    """
    names = list(names)
    by_last: defaultdict[str, list[Member]] = defaultdict(list)
    for member in source.members:
        by_last[segment_id(member.path)].append(member)
    members: list[tuple[str, Member]] = []
    without, copies = [], []
    taken: dict[str, str] = {}  # path of a file -> label
    for name, files in _candidates(names, by_last).items():
        if not files:
            without.append(Outcome(name, NO_MIDI))
            continue
        first, more = files[0], files[1:]
        digest = _digest(source, first) if more else None
        others = [file for file in more if digest is None or _digest(source, file) != digest]
        if others:
            message = f"Two different files are named {name}: {first.path} and {others[0].path}"
            if strict:
                raise DatasetError(AMBIGUOUS, message, path=source.path, hint="keep one of them")
            without.append(Outcome(name, AMBIGUOUS, detail=message))
        elif first.path in taken:
            detail = f"the file belongs to {taken[first.path]} already"
            without.append(Outcome(name, DUPLICATE, path=first.path, detail=detail))
        else:
            members.append((name, first))
            taken.update((file.path, name) for file in files)
            copies += [
                Outcome(name, DUPLICATE, path=file.path, sha256=digest, copy_of=first.path) for file in more
            ]
    if not members:
        message = (
            f"No MIDI file has the name of a label: the labels have {names[0]!r}, "
            f"the files {source.members[0].path!r}"
        )
        hint = "name files as below the folder, with or without .mid; do labels and MIDI belong together?"
        raise DatasetError("no-match", message, path=source.path, hint=hint)
    unlabelled = [
        _unlabelled(name, member, by_last, source)
        for name in sorted(by_last)
        for member in by_last[name]
        if member.path not in taken
    ]
    return Match(members, [*without, *copies, *unlabelled, *rejected(source)])


def rejected(source: MidiSource) -> list[Outcome]:
    """Return the outcomes of what looks like music in an archive or folder and cannot be taken."""
    return [
        Outcome(segment_id(file.path), file.reason or "unreadable", path=file.path, detail=file.detail)
        for file in source.rejected
    ]


def _candidates(names: Sequence[str], by_last: Mapping[str, list[Member]]) -> dict[str, list[Member]]:
    """Files that have the name of each label, by the most exact rule that gives any."""
    lasts = {name: segment_id(name) for name in names}
    lasts |= {name: uncut for name in names if (uncut := segment_id(f"{name}.mid")) in by_last}
    labels = Counter(lasts.values())
    candidates = {}
    for name, last in lasts.items():
        path = _path(name)
        folder, bare = path.rpartition("/")[0], (path, piece_id(path))
        files = [(_path(member.path), member) for member in by_last.get(last, ())]
        candidates[name] = (
            [member for file, member in files if file == path]
            or [member for file, member in files if piece_id(file) in bare]
            or [member for file, member in files if folder and file.rpartition("/")[0].endswith(folder)]
            or [member for _, member in files if labels[last] == 1]
        )
    return candidates


def _path(name: str) -> str:
    """Path with a slash before each part."""
    parts = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")
    return "".join(f"/{part.strip()}" for part in parts if part.strip() not in ("", "."))


def _unlabelled(
    name: str, member: Member, by_last: Mapping[str, list[Member]], source: MidiSource
) -> Outcome:
    base = copy_base(name)
    if base is None or base not in by_last:
        return Outcome(name, NO_LABEL, path=member.path)
    digest = _digest(source, member)
    if digest is None or digest != _digest(source, by_last[base][0]):
        return Outcome(name, NO_LABEL, path=member.path, sha256=digest, detail=f"named as a copy of {base}")
    return Outcome(name, NO_LABEL, path=member.path, sha256=digest, copy_of=base)


def _digest(source: MidiSource, member: Member) -> str | None:
    try:
        return sha256(source.read(member)).hexdigest()
    except DatasetError:
        return None
