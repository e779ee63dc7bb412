"""Calls in child processes, some at a time: a child that is killed loses its own call and no other.

Children come from one server process that has imported what they need (multiprocessing's ``forkserver``). One
child does several calls in turn, which saves what its first one set up, such as the GPU.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

__all__ = ["calls_in_children"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Child(Generic[Item]):
    """A process that waits for items, and answers each."""

    def __init__(self, context: Any, function: Callable[[Item], object]) -> None:
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, function))
        self.process.start()
        there.close()
        self.calls = 0

    def give(self, item: Item) -> None:
        self.item = item
        self.calls += 1
        with suppress(OSError):  # it died while it waited; the answer that does not come will say so
            self.pipe.send(item)

    def end(self) -> int:
        """Let it go; return its exit status."""
        self.pipe.close()  # which is the end of what it waits for
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

    Parameters
    ----------
    function
        Of a module, since children import it; it should not raise (that ends its child).
    items
        Arguments, begun in this order.
    workers
        Children at a time.
    calls_of_a_child
        Calls of one child before another takes its place.
    preload
        Modules that the server process imports once for all children.
    ends_child
        Whether, after this result, another child takes over (a failure may leave a child in a bad state).

    Yields
    ------
    Each item with what the function returned, or with the exit status of its child where that ended before it
    answered (-9: killed), in the order they ended. Children end with the generator.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
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
    """Answer until nothing more is asked."""
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))
