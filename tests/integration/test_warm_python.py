"""The Python that recipes are tested with: a program that fails, or is killed, is seen to."""

import signal
import subprocess

import pytest
from warm_python import python


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; print(sys.argv[1])", 0),
        ("1 / 0", 1),
        ("import sys; sys.exit('no')", 1),
        ("import sys; sys.exit(2)", 2),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
    ],
)
def test_exit_status_is_that_of_the_program(code, status, tmp_path):
    done = subprocess.run([python(), "-c", code, "word"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == status
    assert done.stdout == ("word\n" if status == 0 else "")
    assert ("ZeroDivisionError" in done.stderr) == ("/ 0" in code)


def test_signals_reach_the_program():
    code = "import time; print('here', flush=True); time.sleep(600)"
    with subprocess.Popen([python(), "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
