"""Calls in child processes: one that is killed takes no other with it."""

import math
import multiprocessing
import os
import signal

import pytest

from musicbert.children import calls_in_children


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("calls", [1, 2, 10])
def test_every_item_has_its_answer(workers, calls):
    items = [float(number) for number in range(7)]
    found = list(calls_in_children(math.sqrt, items, workers=workers, calls_of_a_child=calls))
    assert sorted(found) == [(item, math.sqrt(item)) for item in items]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("calls", [1, 5])
def test_a_killed_child_loses_its_own_call_only(workers, calls):
    items = [signal.SIGCONT, signal.SIGKILL, signal.SIGCONT, signal.SIGKILL, signal.SIGCONT]
    found = list(calls_in_children(signal.raise_signal, items, workers=workers, calls_of_a_child=calls))
    answers = {signal.SIGCONT: None, signal.SIGKILL: -signal.SIGKILL}
    assert sorted(item for item, _ in found) == sorted(items)
    assert all(answer == answers[item] for item, answer in found)


def test_a_function_that_raises_ends_its_child():
    assert list(calls_in_children(math.sqrt, [-1.0, 4.0], calls_of_a_child=9)) == [(-1.0, 1), (4.0, 2.0)]


def test_a_child_does_so_many_calls():
    found = [answer for _, answer in calls_in_children(os.nice, [1] * 5, calls_of_a_child=2)]
    first = found[0]
    assert found == [first, first + 1, first, first + 1, first]


def test_children_end_with_the_generator():
    calls = calls_in_children(os.getpgid, [0, 0, 0], workers=2, calls_of_a_child=2)
    next(calls)
    calls.close()
    assert not multiprocessing.active_children()
