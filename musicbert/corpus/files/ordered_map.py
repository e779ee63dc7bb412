"""Work mapped over processes in order, with a bounded number of pieces of work under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

__all__ = ["ordered_map"]

Work = TypeVar("Work")
Result = TypeVar("Result")
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
    """Yield ``function(each)`` in the order of the work; the result does not depend on ``workers``.

    Parameters
    ----------
    function
        Importable by its name, where ``workers`` is above 1.
    work
        Read only as fast as it is done.
    workers
        Processes; 1 works in this one.
    initializer, arguments
        Called first in every process that works, this one included.
    """
    if workers <= 1:
        if initializer is not None:
            initializer(*arguments)
        yield from map(function, work)
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=initializer, initargs=arguments
    )
    try:
        under_way: deque[Future[Result]] = deque()
        for each in work:
            under_way.append(pool.submit(function, each))
            if len(under_way) >= _AHEAD * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
