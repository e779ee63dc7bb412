"""Which MIDI file belongs to which labelled segment, and encoding them all.

A file belongs to a segment by its name (`musicbert.annotation.names.segment_id`: last extension cut, blanks
around it cut, ``score`` is ``Score``). Verified in ``tests/unit/corpus/test_gather.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from multiprocessing import get_context

from tqdm import tqdm

from musicbert.annotation.names import segment_id
from musicbert.corpus.files.archive import Member, MidiSource, copy_base
from musicbert.corpus.files.ledger import NO_LABEL, NO_MIDI, Outcome
from musicbert.corpus.ratings.piece import EncodeOptions, Piece, encode_piece
from musicbert.errors import DatasetError

__all__ = ["Match", "encode_members", "match"]

Encoded = tuple[Outcome, Piece | None]
#: A second file with the name and the bytes of one that was taken.
DUPLICATE = "duplicate-name"


@dataclass(frozen=True)
class Match:
    """Labelled segments and MIDI files, put together.

    Attributes
    ----------
    members
        (identifier, file) of each labelled segment that has one, in the order of the labels.
    outcomes
        What became of all others: labelled without MIDI, MIDI without label, and files that cannot be taken.
    """

    members: list[tuple[str, Member]]
    outcomes: list[Outcome]


def match(ids: Iterable[str], source: MidiSource) -> Match:
    """Put labelled segments and MIDI files together.

    Raises
    ------
    DatasetError
        ``no-match`` where no file belongs to any segment; ``ambiguous-name`` where two different files have
        the name of one labelled segment.
    """
    ids = list(ids)
    by_name: defaultdict[str, list[Member]] = defaultdict(list)
    for member in source.members:
        by_name[segment_id(member.path)].append(member)
    members = [(name, by_name[name][0]) for name in ids if name in by_name]
    if not members:
        raise DatasetError(
            "no-match",
            f"No MIDI file has the name of a labelled segment: the labels have {ids[0]!r}, "
            f"the files {next(iter(by_name))!r}",
            path=source.path,
            hint="MIDI files are named <segment>.mid; check that labels and MIDI belong together",
        )
    outcomes = [Outcome(name, NO_MIDI) for name in ids if name not in by_name]
    for name, first in members:
        outcomes.extend(_duplicates(name, first, by_name[name][1:], source))
    labelled = set(ids)
    for name in sorted(by_name.keys() - labelled):
        outcomes.extend(_unlabelled(name, member, by_name, source) for member in by_name[name])
    outcomes.extend(
        Outcome(segment_id(each.path), each.reason or "unreadable", path=each.path, detail=each.detail)
        for each in source.rejected
    )
    return Match(members, outcomes)


def encode_members(
    source: MidiSource,
    members: Sequence[tuple[str, Member]],
    options: EncodeOptions,
    *,
    workers: int = 1,
    progress: bool = False,
) -> list[Encoded]:
    """Encode files, in their order.

    Parameters
    ----------
    source, members
        Where the files are, and which.
    options
        How to encode.
    workers
        Processes; 1 works in this one, which is faster below some thousand files.
    progress
        Show a progress bar on a terminal.

    Returns
    -------
    list
        Outcome and line of each file.
    """
    bar = partial(tqdm, total=len(members), desc="encode", unit="file", disable=None if progress else True)
    if workers <= 1:
        return list(bar(_encode(source, name, member, options) for name, member in members))
    with _pool(workers, source) as pool:
        names, files = zip(*members, strict=True)
        results = pool.map(partial(_encode_here, options), names, files, chunksize=32)
        return list(bar(results))


def _encode(source: MidiSource, name: str, member: Member, options: EncodeOptions) -> Encoded:
    try:
        content = source.read(member)
    except DatasetError as error:
        return Outcome(name, error.reason, path=member.path, detail=error.message), None
    return encode_piece(name, content, path=member.path, options=options)


def _duplicates(name: str, first: Member, others: Sequence[Member], source: MidiSource) -> Iterator[Outcome]:
    if not others:
        return
    digest = _digest(source, first)
    for each in others:
        if digest is None or _digest(source, each) != digest:
            raise DatasetError(
                "ambiguous-name",
                f"Two different files are named {name}: {first.path} and {each.path}",
                path=source.path,
                hint="keep one of them",
            )
        yield Outcome(name, DUPLICATE, path=each.path, sha256=digest, copy_of=first.path)


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


#: The archive of this worker process, opened once (a shared handle would share its position in the file).
_source: MidiSource | None = None


def _open_here(source: MidiSource) -> None:
    global _source
    _source = source


def _encode_here(options: EncodeOptions, name: str, member: Member) -> Encoded:
    assert _source is not None
    return _encode(_source, name, member, options)


@contextmanager
def _pool(workers: int, source: MidiSource) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes and drop its queue on an exception instead of working it off."""
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_open_here, initargs=(source,)
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
