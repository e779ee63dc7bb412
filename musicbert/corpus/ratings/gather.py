"""Which MIDI file belongs to which labelled segment, and encoding them all.

A file belongs to a segment by its name (`musicbert.annotation.names.segment_id`: last extension cut, blanks
around it cut, ``score`` is ``Score``). A segment that is named with folders takes the file in these folders,
or else the only one of its name.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256

from musicbert.annotation.names import segment_id
from musicbert.corpus.files.archive import Member, MidiSource, copy_base
from musicbert.corpus.files.ledger import NO_LABEL, NO_MIDI, Outcome
from musicbert.corpus.files.parallel import each_member
from musicbert.corpus.ratings.piece import EncodeOptions, Piece, encode_piece
from musicbert.errors import DatasetError

Encoded = tuple[Outcome, Piece | None]
#: A second file with the name and the bytes of one that was taken.
DUPLICATE = "duplicate-name"


@dataclass(frozen=True)
class Match:
    """Labelled segments and MIDI files, put together."""

    members: list[tuple[str, Member]]  # (identifier, file) of the segments with a file, in the labels' order
    outcomes: list[Outcome]  # of all others: no MIDI, no label, or a file that cannot be used


def match(ids: Iterable[str], source: MidiSource) -> Match:
    """Put labelled segments and MIDI files together.

    Raises `DatasetError`: ``no-match`` where no file belongs to any segment; ``ambiguous-name`` where two
    different files have the name of one labelled segment.
    """
    ids = list(ids)
    by_name: defaultdict[str, list[Member]] = defaultdict(list)
    for member in source.members:
        by_name[segment_id(member.path)].append(member)
    candidates = _candidates(ids, by_name)
    members = [(name, candidates[name][0]) for name in ids if candidates[name]]
    if not members:
        names = f"the labels have {ids[0]!r}, the files {next(iter(by_name))!r}"
        message = f"No MIDI file has the name of a labelled segment: {names}"
        hint = "MIDI files are named <segment>.mid; check that labels and MIDI belong together"
        raise DatasetError("no-match", message, path=source.path, hint=hint)
    outcomes = [Outcome(name, NO_MIDI) for name in ids if not candidates[name]]
    for name, first in members:
        outcomes.extend(_duplicates(name, first, candidates[name][1:], source))
    taken = {member.path for files in candidates.values() for member in files}
    for name in sorted(by_name):
        rest = (member for member in by_name[name] if member.path not in taken)
        outcomes.extend(_unlabelled(name, member, by_name, source) for member in rest)
    outcomes.extend(
        Outcome(segment_id(file.path), file.reason or "unreadable", path=file.path, detail=file.detail)
        for file in source.rejected
    )
    return Match(members, outcomes)


def _candidates(ids: Iterable[str], by_name: Mapping[str, list[Member]]) -> dict[str, list[Member]]:
    """Files that have the name of each segment: those in its folders if there are any.

    A name that several segments have, in other folders, is none.
    """
    ids = list(ids)
    last = Counter(map(segment_id, ids))
    files_of = {}
    for name in ids:
        same, folder = by_name.get(segment_id(name), []), name.rpartition("/")[0]
        if folder or last[segment_id(name)] > 1:
            inside = [
                m for m in same if f"/{m.path}".rpartition("/")[0].endswith(f"/{folder}" if folder else "")
            ]
            same = inside or (same if last[segment_id(name)] == 1 else [])
        files_of[name] = same
    return files_of


def encode_members(
    source: MidiSource,
    members: Sequence[tuple[str, Member]],
    options: EncodeOptions,
    *,
    workers: int = 1,
    progress: bool = False,
) -> list[Encoded]:
    """Return the outcome and line of each file, in order; one process is faster below some 1,000 files."""
    files = [member for _, member in members]
    encode = partial(_encode, options=options)
    results = each_member(source, files, encode, workers=workers, progress="encode" if progress else "")
    return [
        _named(name, *(done.result or (done.outcome, None)))
        for (name, _), done in zip(members, results, strict=True)
    ]


def _named(name: str, outcome: Outcome, piece: Piece | None) -> Encoded:
    return replace(outcome, name=name), piece and replace(piece, name=name)


def _encode(member: Member, content: bytes, *, options: EncodeOptions) -> Encoded:
    return encode_piece(segment_id(member.path), content, path=member.path, options=options)


def _duplicates(name: str, first: Member, others: Sequence[Member], source: MidiSource) -> Iterator[Outcome]:
    if not others:
        return
    digest = _digest(source, first)
    for other in others:
        if digest is None or _digest(source, other) != digest:
            message = f"Two different files are named {name}: {first.path} and {other.path}"
            raise DatasetError("ambiguous-name", message, path=source.path, hint="keep one of them")
        yield Outcome(name, DUPLICATE, path=other.path, sha256=digest, copy_of=first.path)


def _unlabelled(name: str, member: Member, by_name: dict[str, list[Member]], source: MidiSource) -> Outcome:
    base = copy_base(name)
    if base is None or base not in by_name:
        return Outcome(name, NO_LABEL, path=member.path)
    digest = _digest(source, member)
    if digest is None or digest != _digest(source, by_name[base][0]):
        return Outcome(name, NO_LABEL, path=member.path, sha256=digest, detail=f"named as a copy of {base}")
    return Outcome(name, NO_LABEL, path=member.path, sha256=digest, copy_of=base)


def _digest(source: MidiSource, member: Member) -> str | None:
    try:
        return sha256(source.read(member)).hexdigest()
    except DatasetError:
        return None
