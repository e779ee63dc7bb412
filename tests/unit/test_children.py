"""Calls in child processes: one that is killed takes no other with it."""

import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import musicbert
from musicbert.children import calls_in_children, without_interrupts


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


@pytest.mark.parametrize("installed", [True, False])
def test_children_import_what_their_parent_does_whatever_the_current_folder_holds(tmp_path, installed):
    root = Path(musicbert.__file__).parents[1]
    here = tmp_path / "here"
    (here / "musicbert").mkdir(parents=True)
    (here / "musicbert" / "__init__.py").write_text("raise RuntimeError('not this one')")
    (here / "musicbert" / "errors.py").write_text("first_line = lambda _: 'not this one'")
    program = (
        "import os, sys, musicbert\n"
        "from musicbert.children import calls_in_children, without_interrupts\n"
        "from musicbert.errors import first_line\n"
        "if __name__ == '__main__':\n"
        "    os.chdir(sys.argv[1])\n"
        "    print(list(calls_in_children(first_line, ['a\\nb'], preload=['musicbert.errors'])))\n"
        "    print(os.environ.get('PYTHONPATH'), os.environ.get('PYTHONSAFEPATH'))\n"
    )
    (tmp_path / "program.py").write_text(program)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if installed:
        place, more = tmp_path, {"PYTHONPATH": str(root)}
        command = [sys.executable, str(tmp_path / "program.py"), str(here)]
    else:  # found in the current folder
        place, more = root, {}
        command = [sys.executable, "-c", program, str(here)]
    done = subprocess.run(
        command, cwd=place, env=environment | more, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[('a\\nb', 'a')]", f"{root if installed else None} None"], done


def test_children_end_with_the_generator():
    calls = calls_in_children(os.getpgid, [0, 0, 0], workers=2, calls_of_a_child=2)
    next(calls)
    calls.close()
    assert not multiprocessing.active_children()


def test_an_interrupt_that_another_thread_gets_waits():
    started, ended, steps = threading.Event(), threading.Event(), []
    other = threading.Thread(target=lambda: (started.set(), ended.wait()))  # begun before: it masks nothing
    other.start()
    started.wait()

    def interrupted():
        with without_interrupts():
            signal.pthread_kill(other.ident, signal.SIGINT)
            told.recv(1)  # it has arrived
            steps.append("started")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    told, tells = socket.socketpair()
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.fileno())
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert steps == ["started"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, before)
        ended.set()
        other.join()
        told.close()
        tells.close()
