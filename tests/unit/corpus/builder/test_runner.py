"""A worker that dies loses no task, whether it is at work or idle."""

import os
import signal
from contextlib import suppress

import pytest

from musicbert.corpus.builder.runner import open_runner


def _kill_workers(runner):
    for process in list(runner._executor._processes.values()):
        with suppress(ProcessLookupError):  # the pool ends the others itself once it sees that one died
            os.kill(process.pid, signal.SIGKILL)
        process.join()


@pytest.mark.parametrize("number", [1, 7])
def test_workers_that_die_between_two_runs_lose_no_task(number):
    with open_runner(2) as runner:
        assert sorted(runner.run(abs, [-1, -2])) == [1, 2]
        _kill_workers(runner)
        assert sorted(runner.run(abs, range(-number, 0))) == list(range(1, number + 1))


def test_workers_that_die_while_no_task_is_ready_lose_no_task():
    with open_runner(2) as runner:

        def tasks():
            yield from [-1, -2]
            _kill_workers(runner)
            yield from [-3, -4, -5, -6, -7]

        list(runner.run(abs, [-9]))
        assert sorted(runner.run(abs, tasks())) == list(range(1, 8))
