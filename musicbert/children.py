"""Function calls in child processes, several at a time: a killed child loses only its own call.

Children are forked from one server process that has imported what they need (multiprocessing's
``forkserver``). A child makes several calls, one after the other, and so sets up the GPU only once.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back while processes are started: they never get it, and this process gets it afterwards.

    Where there are no signal masks (Windows), nothing is held back.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    caught: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    # the mask is that of this thread; a signal that another one gets is handled in the main thread, at once
    defer = callable(handler) and threading.current_thread() is threading.main_thread()
    if defer:
        signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if defer:
            signal.signal(signal.SIGINT, handler)
        if caught:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _own_modules() -> Iterator[None]:
    """Let Python processes find modules where this one does, and not in the current folder.

    The server would import a folder ``musicbert/`` that lies there.
    """
    root, paths = str(Path(__file__).parents[1]), [path for path in sys.path if path]
    if next((path for path in paths if Path(path, __package__).exists()), "") != root:
        paths.insert(0, root)
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    os.environ.update(PYTHONPATH=os.pathsep.join(paths), PYTHONSAFEPATH="1")
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


class _Child(Generic[Item]):
    """A process that receives items and sends back what the function returns."""

    def __init__(self, context: Any, function: Callable[[Item], object]) -> None:
        self.pipe, other_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(other_end, function))
        with without_interrupts():
            self.process.start()
        other_end.close()
        self.calls = 0

    def give(self, item: Item) -> None:
        self.item = item
        self.calls += 1
        with suppress(OSError):  # it died while waiting: `recv` will fail
            self.pipe.send(item)

    def end(self) -> int:
        """End the process; return its exit status."""
        self.pipe.close()  # the child ends when there is nothing left to receive
        self.process.join()
        status = int(self.process.exitcode)
        self.process.close()
        return status


def calls_in_children(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int = 1,
    calls_of_a_child: int = 1,
    preload: Sequence[str] = (),
    ends_child: Callable[[Result], bool] = lambda _: False,
) -> Iterator[tuple[Item, Result | int]]:
    """Call a function with each item, in child processes.

    Yields each item, in the order of completion, with the function's result, or with the exit status of its
    child if that died first (-9: killed). Closing the generator ends the children.

    ``function``: defined in a module, since children import it. It should not raise: that ends its child.
    ``workers``: children at a time. ``calls_of_a_child``: calls of one child before it is replaced.
    ``preload``: modules that the server process imports once for all children. ``ends_child``: whether to
    replace the child after this result (a failure may leave it in a bad state).
    """
    context = multiprocessing.get_context("forkserver")
    from multiprocessing import forkserver  # not on every system

    context.set_forkserver_preload(list(preload))
    with without_interrupts(), _own_modules():
        forkserver.ensure_running()
    waiting = list(reversed(items))
    active: dict[Connection, _Child[Item]] = {}

    def begin(child: _Child[Item]) -> None:
        child.give(waiting.pop())
        active[child.pipe] = child

    try:
        while waiting or active:
            while waiting and len(active) < max(workers, 1):
                begin(_Child(context, function))
            for pipe in wait(list(active)):
                assert isinstance(pipe, Connection)
                child = active.pop(pipe)
                item = child.item
                answer: Result | int
                try:
                    result: Result = child.pipe.recv()
                except (EOFError, OSError):
                    answer = child.end()
                else:
                    answer = result
                    if waiting and child.calls < calls_of_a_child and not ends_child(result):
                        begin(child)
                    else:
                        child.end()
                yield item, answer
    finally:
        for child in active.values():
            child.process.terminate()
            child.end()


def _serve(pipe: Connection, function: Callable[[Any], object]) -> None:
    """Call the function for each item until the pipe is closed."""
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))
