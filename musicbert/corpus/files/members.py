"""A function over all MIDI files of a folder or zip, in processes, with an outcome for each file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Generic, TypeVar

from tqdm import tqdm

from musicbert.corpus.files.archive import Member, MidiSource
from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.corpus.files.ordered_map import ordered_map
from musicbert.errors import DatasetError, MidiError

__all__ = ["Done", "each_member"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What became of one file: its outcome, and the result where that is ok."""

    outcome: Outcome
    result: Result | None


def each_member(
    source: MidiSource,
    members: Sequence[Member],
    function: Callable[[Member, bytes], Result],
    *,
    workers: int = 1,
    progress: str = "",
) -> Iterator[Done[Result]]:
    """Yield what a function makes of each file, in their order.

    Parameters
    ----------
    source, members
        Where the files are, and which.
    function
        Importable by its name where ``workers`` is above 1. It may raise `MidiError` or `DatasetError`: the
        reason is then the file's outcome.
    workers
        Processes; the results do not depend on it.
    progress
        Title of a progress bar on a terminal; none if empty.
    """
    bar = tqdm(total=len(members), desc=progress, unit="file", disable=None if progress else True)
    with bar:
        for done in ordered_map(
            _do, members, workers=workers, initializer=_open, arguments=(source, function)
        ):
            bar.update()
            yield done


#: The archive of this worker process, opened once, and what is done with its files.
_here: tuple[MidiSource, Callable[[Member, bytes], object]] | None = None


def _open(source: MidiSource, function: Callable[[Member, bytes], object]) -> None:
    global _here
    _here = (source, function)


def _do(member: Member) -> Done:  # type: ignore[type-arg] # the result is what the function gives
    assert _here is not None
    source, function = _here
    outcome = Outcome(member.name, OK, path=member.path)
    try:
        content = source.read(member)
        outcome = replace(outcome, sha256=sha256(content).hexdigest())
        return Done(outcome, function(member, content))
    except (MidiError, DatasetError) as error:
        return Done(replace(outcome, outcome=error.reason, detail=error.message), None)
