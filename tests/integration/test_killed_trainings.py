"""Trainings of every kind that are killed at updates and in writes end with the same weights."""

import os
import re
import subprocess

import pytest
from warm_python import python


@pytest.mark.slow
def test_killed_trainings_end_as_those_that_ran_through(root):
    # in an update, in a copy of the checkpoint, before the copy is renamed
    done = subprocess.run(
        [python(), root / "tests" / "kill_trainings.py", "--at", "2", "4", "6"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(re.findall(r": 3 kills of 1 trainings, 0 faults", done.stdout)) == 9
