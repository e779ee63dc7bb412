"""The seam to executors: many tasks, few in flight, whatever `concurrent.futures.Executor` does the work.

One worker is this process itself; several are a process pool; a scheduler's address is dask.distributed's
executor. Tasks are drawn only as there is room, so memory does not grow with their number. The order in which
they end does not matter to anybody.

A process of the pool that dies (memory, or a fault of a native parser) breaks the pool: every task that was
in flight is then run alone in a process of its own, and one that kills it again goes to `on_crash`, which
may return a task that avoids the cause. Where no task was in flight, a new pool goes on.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any

from musicbert.corpus.builder.worker import watch_parent
from musicbert.corpus.files.parallel import SpawnedPool
from musicbert.errors import DatasetError

#: Tasks in flight for each worker: one at work, one waiting.
_AHEAD = 2
Function = Callable[[Any], Any]
#: Called with a task that kills its process and with a function that says whether another task does; returns
#: the task to run instead.
OnCrash = Callable[[Any, Callable[[Any], bool]], Any]


class Runner:
    """Runs tasks on the executor that ``make`` returns, or in this process where it is None.

    ``workers`` bounds the tasks in flight; ``local`` says whether they are on this machine.
    """

    def __init__(self, make: Callable[[], Executor] | None, workers: int, *, local: bool = True) -> None:
        self._make, self._workers = make, workers
        #: workers of this machine that may write into one file; 1 on a cluster
        self.local_workers = workers if local else 1
        self._executor: Executor | None = None

    def run(self, function: Function, tasks: Iterable[Any], on_crash: OnCrash | None = None) -> Iterator[Any]:
        """Yield the results of a module-level function of one task, in the order in which the tasks end.

        Tasks are drawn as there is room. ``on_crash`` says what to run instead of a task that kills its
        process; None raises the error.
        """
        if self._make is None:
            yield from map(function, tasks)
            return
        remaining, waiting = iter(tasks), deque[Any]()
        flying: dict[Future[Any], Any] = {}
        while True:
            suspects: list[Any] = []
            waiting.extend(islice(remaining, _AHEAD * self._workers - len(flying) - len(waiting)))
            try:
                while waiting:
                    if self._executor is None:
                        self._executor = self._make()
                    flying[self._executor.submit(function, waiting[0])] = waiting[0]
                    waiting.popleft()
            except BrokenProcessPool:
                suspects = self._drop(flying)
                if not suspects:  # a worker died while idle: no task is to blame, a new pool does the work
                    continue
            if not flying and not suspects:
                return
            if flying:
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    error = future.exception()
                    if error is None:
                        del flying[future]
                        yield future.result()
                    elif _is_crash(error):
                        suspects += self._drop(flying)
                        break
                    else:
                        raise error
            for task in suspects:
                yield self._alone(function, task, on_crash)

    def close(self) -> None:
        """End the workers."""
        if isinstance(self._executor, ProcessPoolExecutor):
            self._executor.shutdown(wait=True, cancel_futures=True)
        elif self._executor is not None:  # distributed's takes no such word, and always cancels
            self._executor.shutdown(wait=True)
        self._executor = None

    def _drop(self, flying: dict[Future[Any], Any]) -> list[Any]:
        """Give up a broken executor, and return the tasks that it had: all may be run again."""
        tasks = list(flying.values())
        flying.clear()
        # a process that was started while the pool broke would be waited for without end
        for process in list((getattr(self._executor, "_processes", None) or {}).values()):
            process.kill()
        self.close()
        return tasks

    def _alone(self, function: Function, task: Any, on_crash: OnCrash | None) -> Any:
        """Run a task that may kill its process in a process of its own."""

        def attempt(task: Any) -> Any:
            with process_pool(1) as pool:
                return pool.submit(function, task).result()

        def kills(task: Any) -> bool:
            try:
                attempt(task)
            except BrokenProcessPool:
                return True
            return False

        try:
            return attempt(task)
        except BrokenProcessPool:
            if on_crash is None:
                raise
            return attempt(on_crash(task, kills))


def _is_crash(error: BaseException) -> bool:
    """Whether a worker died: of the pool at once, of a cluster after the scheduler tried some times."""
    return isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker"


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes that end with this one.

    They are spawned: nothing is shared by accident, threads of this process do no harm.
    """
    return SpawnedPool(workers, watch_parent, (os.getpid(),))


@contextmanager
def open_runner(workers: int = 1, scheduler: str | None = None) -> Iterator[Runner]:
    """Open the place where the work is done: this process, processes, or a dask.distributed scheduler.

    ``scheduler`` is an address such as ``tcp://host:8786``. Raises `DatasetError`: ``bad-options``,
    ``no-distributed``, ``no-scheduler``.
    """
    if workers < 1:
        raise DatasetError("bad-options", f"{workers} workers", hint="at least 1")
    if scheduler is not None:
        with _cluster(scheduler) as runner:
            yield runner
        return
    runner = Runner(None if workers == 1 else lambda: process_pool(workers), workers)
    try:
        yield runner
    finally:
        runner.close()


@contextmanager
def _cluster(address: str) -> Iterator[Runner]:
    try:
        from distributed import Client
    except ImportError as error:
        raise DatasetError(
            "no-distributed", "dask.distributed is not installed", hint="pip install 'musicbert[cluster]'"
        ) from error
    try:
        client: Any = Client(address)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise DatasetError("no-scheduler", f"No scheduler answers at {address}: {error}") from error
    with client:
        workers = sum(client.nthreads().values()) or 1
        runner = Runner(lambda: client.get_executor(pure=False), workers, local=False)
        try:
            yield runner
        finally:
            runner.close()
