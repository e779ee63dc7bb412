"""Worker processes with a bounded queue and bounded time; one that is killed is replaced."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessPool

from musicbert.web.work import warm

#: questions that may wait for each worker
WAITING = 16
#: questions after which a worker is replaced, so that its memory does not grow
REPLACED_AFTER = 200


class FullError(Exception):
    """Too many questions are waiting."""


class Pool:
    """Processes that answer questions.

    ``workers``: their number; ``seconds``: longest time of one question; ``index``: folder that they open.
    """

    def __init__(self, workers: int, *, seconds: float = 120.0, index: str | None = None) -> None:
        self.seconds, self._most, self._running = seconds, workers * (WAITING + 1), 0
        os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))
        self._workers, self._index = workers, index
        self.processes = self._start()

    def _start(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._workers,
            max_tasks=REPLACED_AFTER,
            initializer=warm,
            initargs=(self._index,),
            context=multiprocessing.get_context("spawn"),
        )

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a worker; a question whose worker was killed is asked once more.

        Raises `FullError`, `concurrent.futures.TimeoutError`, `pebble.ProcessExpired` and
        `concurrent.futures.process.BrokenProcessPool` (workers end), and what the function raises.
        """
        if self._running >= self._most:
            raise FullError
        self._running += 1
        try:
            for last in (False, True):
                if not self.processes.active:  # all workers were killed while they had nothing to do
                    self.processes = self._start()
                future = self.processes.schedule(function, args=arguments, timeout=self.seconds)
                try:
                    return await asyncio.wrap_future(future)
                except (ProcessExpired, BrokenProcessPool):
                    if last:
                        raise
        finally:
            self._running -= 1

    def close(self) -> None:
        """End the workers."""
        self.processes.stop()
        self.processes.join(10)
