"""Trainings of every kind that are killed at updates and in writes end with the same weights."""

import os
import re
import subprocess

import pytest
from warm_python import python

#: kinds that are killed in an update, in a copy of the checkpoint, and before the copy is renamed
THRICE = "masked LM|denoising|tagging"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "events", "count"), [(THRICE, "2 4 6", 3), (f"^(?!.*({THRICE}))", "4", 6)], ids=["3", "1"]
)
def test_killed_trainings_end_as_those_that_ran_through(root, kinds, events, count):
    done = subprocess.run(
        [python(), root / "tests" / "kill_trainings.py", "--only", kinds, "--at", *events.split()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    kills = len(events.split())
    assert len(re.findall(rf": {kills} kills of 1 trainings, 0 faults", done.stdout)) == count
