"""Threads of programs wait shortly for each other, unless the user says otherwise."""

import os

import pytest

from musicbert.command_line import SPINS, exit_status


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (None, SPINS)),
        ({"OMP_WAIT_POLICY": "active"}, ("active", None)),
        ({"GOMP_SPINCOUNT": "5"}, (None, "5")),
    ],
)
def test_short_waits(monkeypatch, given, expected):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    seen = []
    main = exit_status(lambda: seen.append((os.getenv("OMP_WAIT_POLICY"), os.getenv("GOMP_SPINCOUNT"))))
    assert main() == 0
    assert seen == [expected]
    os.environ.pop("GOMP_SPINCOUNT", None)
