"""The piano-roll target equals golden ones, in NumPy and on the device; vectorised beside a plain loop."""

import json

import numpy as np
import pytest
import torch

from musicbert.model.losses.pianoroll import roll_targets
from musicbert.objectives.note_fields import CP
from musicbert.objectives.pianoroll import (
    CHROMA,
    DURATION_SIXTEENTHS,
    PITCHES,
    ROWS,
    roll_events,
    roll_size,
    roll_target,
)

COLUMNS = CHROMA + PITCHES


def load(shared, name):
    return json.loads((shared / "golden" / "m2bert" / f"{name}.json").read_text())


def dense(sparse, size):
    row = np.zeros(size)
    for column, value in sparse:
        row[column] = value
    return row


def on_device(cells, chroma=True):
    events = roll_events(cells, CP)
    return roll_targets(torch.from_numpy(events)[None], int(events[:, 0].max()) + 1, chroma=chroma)[0].numpy()


@pytest.mark.shared
def test_widths_of_durations(shared):
    assert load(shared, "duration_token_to_16ths") == DURATION_SIXTEENTHS.tolist()


@pytest.mark.shared
@pytest.mark.parametrize("make", [lambda cells: roll_target(cells, CP), on_device])
def test_a_crop(shared, make):
    golden = load(shared, "pianoroll_target")
    cells = np.array(golden["tokens_padded"])
    bars = [dense(bar, ROWS * COLUMNS) for bar in golden["bar_rolls_sparse"]]
    wanted = [
        np.concatenate([bars[bar], dense(tatum, COLUMNS)])
        for bar, tatum in zip(golden["token_to_bar_roll"], golden["tatum_sparse"], strict=True)
    ]
    got = make(cells)
    # the file has six decimals
    assert np.abs(np.round(got.astype(float), 6) - wanted).max() == 0
    assert got.sum() == pytest.approx(golden["checksum_sum"], abs=1e-3)
    assert np.square(got.astype(float)).sum() == pytest.approx(golden["checksum_sumsq"], abs=1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("make", [lambda cells: roll_target(cells, CP), on_device])
def test_edges(shared, make):
    """A crop that begins inside a bar, thirty-seconds, overflow, bars with little in them, padding."""
    golden = load(shared, "pianoroll_target_edge")
    wanted = [dense(row, roll_size()) for row in golden["dense_nonzero"]]
    got = make(np.array(golden["tokens_padded"]))
    assert np.abs(np.round(got.astype(float), 6) - wanted).max() == 0


def random_crop(seed, notes):
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.integers(0, high, notes) for high in (2, 16, 86, 64)], axis=1)
    return np.concatenate([cells, np.repeat([CP.pads], 3, axis=0)])


@pytest.mark.parametrize("chroma", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_equal_to_a_plain_loop(seed, chroma):
    cells = random_crop(seed, 60)
    bars, bar_of = [], []
    for number, (bar, *_) in enumerate(cells.tolist()):
        if bar == 0 or number == 0:
            bars.append(np.zeros((ROWS + 1, COLUMNS)))
        bar_of.append(len(bars) - 1)
    for number, (_, position, pitch, duration) in enumerate(cells.tolist()):
        if pitch >= PITCHES:
            continue
        end = position + DURATION_SIXTEENTHS[duration]
        for row in range(position, end):
            bar = bar_of[number] + row // ROWS
            if bar < len(bars) and row < 2 * ROWS:
                bars[bar][row % ROWS, [pitch % CHROMA, CHROMA + pitch]] += 1
    rows = [bar / np.maximum(bar.sum(1, keepdims=True), 0.1) * 2 for bar in bars]
    first = 0 if chroma else CHROMA
    wanted = [
        np.concatenate([rows[bar_of[n]][:ROWS, first:].ravel(), rows[bar_of[n]][min(position, ROWS), first:]])
        for n, (_, position, _, _) in enumerate(cells.tolist())
    ]
    np.testing.assert_allclose(roll_target(cells, CP, chroma=chroma), wanted, rtol=0, atol=1e-6)
    np.testing.assert_allclose(on_device(cells, chroma), wanted, rtol=0, atol=1e-6)
    assert len(wanted[0]) == roll_size(chroma=chroma) == (1666 if chroma else 1462)
