"""Whether the sources of a build that goes on are those that it began with: the same files, the same bytes.

The records of the shards (or the ledger of the finished corpus) say what was read. Every file that was
encoded is read once more and its hash compared, which takes a small part of the time of encoding. Files
behind URLs are not fetched again: only their names are compared.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from os import PathLike
from typing import Any

from musicbert.corpus.builder.byte_sources import UrlPlace
from musicbert.corpus.builder.runner import Runner
from musicbert.corpus.builder.shards import all_committed, committed, read_records
from musicbert.corpus.builder.sources import Entry
from musicbert.corpus.builder.worker import CRASHED, Chunk, content_hash
from musicbert.reuse import file_differences

Contents = dict[str, str]


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
    return contents


def names_of(entries: Iterable[Entry]) -> list[str]:
    """Return the name of each file: source and path."""
    names: dict[str, None] = {}
    for entry in entries:
        names[_unused(f"{entry.source}/{entry.member.path}", names)] = None
    return list(names)


def present(entries: Iterable[Entry], before: Contents) -> Contents:
    """Return what files hold now; what cannot be compared is as before."""
    contents: Contents = {}
    for entry in entries:
        name = _unused(f"{entry.source}/{entry.member.path}", contents)
        remote = isinstance(entry.place, UrlPlace) and "://" in entry.place.url
        if name in before and (remote or before[name] == CRASHED):
            contents[name] = before[name]
        else:
            contents[name] = "not fetched" if remote else content_hash(entry)
    return contents


def check_chunk(chunk: Chunk) -> tuple[Contents, Contents]:
    """Return what the files of a chunk were and are; nothing if they are the same."""
    before = recorded(read_records(chunk.folder, chunk.number))
    now = present(chunk.entries, before)
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
                now.update({name: before[name] for name in names_of(chunk.entries) if name in before})
        if before.keys() - now.keys():
            now = {name: content for name, content in now.items() if name in before}
    return file_differences(before, now)
