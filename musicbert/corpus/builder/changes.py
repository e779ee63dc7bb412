"""Whether the sources of a build that goes on are those that it began with: the same files, the same bytes.

The records of the shards (or the ledger of the finished corpus) say what was read. Every file that was
encoded is read once more and its hash compared, which takes a small part of the time of encoding; so are the
annotations beside it, where the options ask for them. A file behind a URL is fetched again, unless the server
identifies its bytes (`UrlPlace.version`) and says that they are the same. One that could not be fetched then
is not asked for again: its line in the ledger says so.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

from musicbert.corpus.builder.byte_sources import UNREACHED, UrlPlace
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.builder.runner import Runner
from musicbert.corpus.builder.shards import all_committed, committed, read_records
from musicbert.corpus.builder.sources import Entry
from musicbert.corpus.builder.worker import CRASHED, Chunk, beats_hash, content_hash, remote_version
from musicbert.errors import DatasetError
from musicbert.reuse import file_differences

Contents = dict[str, str]
#: What follows the name of a file in the name of its annotations.
_BEATS = " (annotations beside it)"


def _unused(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken: an archive may hold a path twice."""
    while name in taken:
        name += " (again)"
    return name


def recorded(records: Iterable[Mapping[str, Any]]) -> Contents:
    """Return what records say that was read."""
    contents: Contents = {}
    for record in records:
        name = _unused(f"{record.get('source')}/{record['path']}", contents)
        contents[name] = record.get("sha256") or record.get("bytes") or record["outcome"]
        if record.get("beats"):
            contents[name + _BEATS] = record["beats"]
    return contents


def names_of(entries: Iterable[Entry]) -> list[str]:
    """Return the name of each file: source and path."""
    names: dict[str, None] = {}
    for entry in entries:
        names[_unused(f"{entry.source}/{entry.member.path}", names)] = None
    return list(names)


def present(
    entries: Iterable[Entry],
    before: Contents,
    options: BuildOptions,
    versions: Sequence[str | None] = (),
) -> Contents:
    """Return what files hold now; what cannot be compared is as before.

    ``versions``: what servers called the bytes of each entry before.
    Raises `DatasetError` (``cannot-read``: a URL that was read before cannot be read now).
    """
    contents: Contents = {}
    for number, entry in enumerate(entries):
        name = _unused(f"{entry.source}/{entry.member.path}", contents)
        then = before.get(name)
        called = versions[number] if number < len(versions) else None
        remote = isinstance(entry.place, UrlPlace) and entry.place.remote
        unreached = remote and then in UNREACHED
        if then == CRASHED or unreached or (then and called and called == remote_version(entry)):
            contents[name] = str(then)
        else:
            contents[name] = content_hash(entry)
        if remote and contents[name] in UNREACHED and then is not None and not unreached:
            raise DatasetError(
                "cannot-read",
                "This file was read by the earlier run, and cannot be fetched again to compare its bytes",
                path=entry.member.path,
                hint="repeat the command when the server answers, or begin afresh with --restart",
            )
        if beats := beats_hash(entry, options):
            contents[name + _BEATS] = beats
    return contents


def check_chunk(chunk: Chunk) -> tuple[Contents, Contents]:
    """Return what the files of a chunk were and are; nothing if they are the same."""
    records = list(read_records(chunk.folder, chunk.number))
    before = recorded(records)
    versions = [record.get("version") for record in records]
    now = present(chunk.entries, before, chunk.options, versions)
    return ({}, {}) if list(before.items()) == list(now.items()) else (before, now)


def changes(
    listing: Callable[[], Iterator[Chunk]], shards: str | PathLike[str], runner: Runner, *, complete: bool
) -> list[str]:
    """Say what differs between the files now and those that the shards were made of.

    ``listing``: gives all files; ``complete``: whether there was a shard of every file.
    """
    numbers = all_committed(shards)
    before: Contents = {}
    now: Contents = {}
    last = -1

    def encoded() -> Iterator[Chunk]:
        nonlocal last
        for chunk in listing():
            last = chunk.number
            if committed(shards, last):
                yield chunk
            elif complete:
                now.update(dict.fromkeys(names_of(chunk.entries), "added"))

    for old, new in runner.run(check_chunk, encoded()) if numbers else ():
        before.update(old)
        now.update(new)
    for number in numbers:
        if number > last:
            before.update(recorded(read_records(shards, number)))
    if before and not complete:  # files may have moved to chunks that were not encoded, or from them
        for chunk in listing():
            if not committed(shards, chunk.number):
                names = names_of(chunk.entries)
                names += [name + _BEATS for name in names]
                now.update({name: before[name] for name in names if name in before})
        if before.keys() - now.keys():
            now = {name: content for name, content in now.items() if name in before}
    return file_differences(before, now)
