"""Seconds of a run that was cut off and resumed, however its processes follow each other in the log."""

import json

import pytest
from training_effort import notes_seen, training_seconds

BEGUN = "0 | INFO | fairseq_cli.train | {'_name': None}"


def loaded(update):
    return f"0 | INFO | fairseq.trainer | Loaded checkpoint a/checkpoint_last.pt (epoch 1 @ {update} updates)"


def epoch(update, seconds):
    body = {"train_num_updates": str(update), "train_train_wall": "1", "train_wall": str(seconds)}
    return f"0 | INFO | train | {json.dumps(body)}"


def inner(update, seconds):
    body = {"num_updates": str(update), "train_wall": "1", "wall": str(seconds)}
    return f"0 | INFO | train_inner | {json.dumps(body)}"


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        pytest.param([BEGUN, inner(5, 3), epoch(10, 6)], 6, id="one process"),
        pytest.param(["nothing"], 0, id="no process"),
        pytest.param([BEGUN, epoch(10, 6), BEGUN, loaded(10), epoch(20, 9)], 15, id="a longer one follows"),
        pytest.param([epoch(10, 6), epoch(20, 5)], 11, id="the clock falls, the beginning is missing"),
        pytest.param(
            [BEGUN, inner(4, 2), inner(6, 3), inner(8, 4), BEGUN, loaded(6), epoch(10, 3)],
            6,
            id="work after the checkpoint is lost",
        ),
        pytest.param(
            [BEGUN, epoch(10, 6), BEGUN, loaded(10), epoch(10, 2)], 6, id="resumed when it was at its end"
        ),
        pytest.param([BEGUN, epoch(10, 6), BEGUN, epoch(10, 5)], 5, id="begun anew"),
        pytest.param(
            [BEGUN, inner(4, 2), BEGUN, loaded(4), BEGUN, loaded(4), epoch(8, 3)],
            5,
            id="one that did nothing",
        ),
        pytest.param(
            [BEGUN, inner(4, 2), inner(8, 4)[:-5] + BEGUN, loaded(4), epoch(10, 3)],
            5,
            id="killed while it wrote",
        ),
        pytest.param(
            [BEGUN, inner(4, 2), inner(8, 4)[:-5] + inner(9, 5), epoch(10, 6)], 6, id="two that wrote at once"
        ),
    ],
)
def test_seconds(lines, seconds):
    assert training_seconds(lines) == seconds


def at(clock, line):
    return f"2026-01-31 23:{clock}" + line[1:]


def test_a_clock_that_stands_still_is_replaced_by_the_times_of_the_lines():
    lines = [at("58:00", BEGUN), at("58:05", inner(4, 2)), at("58:09", epoch(8, 6))]
    resumed = [
        at("59:00", BEGUN),
        at("59:08", loaded(8)),
        at("59:10", inner(9, 0)),
        at("59:30", epoch(12, 0)),
    ]
    assert training_seconds(lines + resumed) == 6 + 30
    again = [at("59:40", BEGUN), at("59:41", loaded(9)), at("59:59", epoch(12, 0))]
    assert training_seconds(lines + resumed + again) == 6 + 10 + 19


def test_notes():
    curves = {"wpb": {"train": [(4.0, 100.0), (10.0, 50.0)]}}
    assert notes_seen(curves, octuples=False) == 4 * 100 + 6 * 50
    assert notes_seen(curves, octuples=True) is None  # nobody says how many rows
    assert notes_seen({}, octuples=False) is None
    curves = {"wpb": {"train": [(4.0, 816.0)]}, "bsz": {"train": [(4.0, 1.0)]}}
    assert notes_seen(curves, octuples=True) == 400
