"""Work over many files: mapped over processes in order, with an outcome for each MIDI file."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from hashlib import sha256
from multiprocessing import get_context
from typing import Any, Generic, TypeVar

from musicbert.children import without_interrupts
from musicbert.corpus.files.archive import Member, MidiSource
from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.errors import DatasetError, MidiError
from musicbert.progress import progress_bar

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
    """Yield what an importable function makes of each file, in their order.

    `MidiError` and `DatasetError` that it raises become the file's outcome. ``progress`` is the title of a
    progress bar on a terminal.
    """
    bar = progress_bar(total=len(members), desc=progress, unit="file", shown=bool(progress))
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


class SpawnedPool(ProcessPoolExecutor):
    """Fresh processes, on every platform; Ctrl-C is left to this process."""

    def __init__(
        self, workers: int, initializer: Callable[..., None] | None, arguments: tuple[Any, ...]
    ) -> None:
        with without_interrupts():
            super().__init__(
                workers, mp_context=get_context("spawn"), initializer=initializer, initargs=arguments
            )

    def submit(self, *call: Any, **more: Any) -> Future[Any]:
        """As the executor has it; processes are started as they are needed."""
        with without_interrupts():
            return super().submit(*call, **more)


Work = TypeVar("Work")
#: Pieces of work under way for each process: enough that none waits, few enough for memory.
_AHEAD = 4


def ordered_map(
    function: Callable[[Work], Result],
    work: Iterable[Work],
    *,
    workers: int = 1,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the work, which is read only as fast as it is done.

    The result does not depend on the number of processes; ``initializer`` is called first in each of them
    (with one worker: in this one). Raises `DatasetError` (``worker-died``).
    """
    if workers <= 1:
        if initializer is not None:
            initializer(*arguments)
        yield from map(function, work)
        return
    pool = SpawnedPool(workers, initializer, arguments)
    try:
        under_way: deque[Future[Result]] = deque()
        for item in work:
            under_way.append(pool.submit(function, item))
            if len(under_way) >= _AHEAD * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise DatasetError(
                "worker-died",
                "A worker process was killed, for want of memory perhaps, or crashed",
                hint="run it again; fewer --workers need less memory",
            ) from error
        raise
    pool.shutdown()
