"""The piano roll of octuples: true bars, metres, drums, and pitches beyond the columns."""

import numpy as np
import torch

from musicbert.model.losses.pianoroll import roll_loss, roll_targets
from musicbert.objectives.note_fields import CP, OCTUPLE
from musicbert.objectives.pianoroll import CHROMA, PITCHES, ROWS, rasterise, roll_events, roll_target

FOUR_FOUR, THREE_FOUR, SIX_FOUR = 9, 8, 11  # codes of time signatures


def note(bar, position, pitch=60, duration=16, *, program=0, metre=FOUR_FOUR):
    """An octuple; position and duration in 1/16 of a quarter note (durations to 15 are their own code)."""
    return [bar, position, program, pitch, duration, 16, metre, 34]


def sounding(cells, bar=0):
    """Rows and MIDI pitches that sound in one bar of a crop."""
    bars, _ = rasterise(roll_events(np.array(cells), OCTUPLE))
    return {(int(row), int(column) + 22) for row, column in np.argwhere(bars[bar][:, CHROMA:])}


def test_sixteenths_are_four_positions():
    assert sounding([note(3, 8, duration=8)]) == {(2, 60), (3, 60)}
    assert sounding([note(3, 9, duration=1)]) == {(2, 60)}  # at least one
    assert sounding([note(3, 8, duration=0)]) == {(2, 60)}


def test_overflow_goes_into_the_next_bar_only():
    cells = [note(0, 56, duration=12), note(1, 0, 70, 4), note(5, 56, 62, 12), note(7, 0, 72, 4)]
    assert sounding(cells, 0) == {(14, 60), (15, 60)}
    assert sounding(cells, 1) == {(0, 60), (0, 70)}
    assert sounding(cells, 2) == {(14, 62), (15, 62)}
    assert sounding(cells, 3) == {(0, 72)}  # bar 6 was silent and lies between


def test_bars_of_other_lengths():
    short = [note(0, 40, duration=12, metre=THREE_FOUR), note(1, 0, 70, 4, metre=THREE_FOUR)]
    assert sounding(short, 0) == {(10, 60), (11, 60)}
    assert sounding(short, 1) == {(0, 60), (0, 70)}
    long = np.array([note(0, 60, 64, 8, metre=SIX_FOUR), note(0, 72, 60, 8, metre=SIX_FOUR)])
    assert sounding(long) == {(15, 64)}
    target = roll_target(long, OCTUPLE)
    assert target[0, -PITCHES:].any()
    assert not target[1, -CHROMA - PITCHES :].any()  # behind the 16th sixteenth: no tatum


def test_drums_are_silent_and_other_pitches_are_drawn_to_the_columns():
    cells = [note(0, 0, 128 + 36, program=128), note(0, 0, 5, 4), note(0, 0, 120, 4)]
    assert sounding(cells) == {(0, 22), (0, 107)}
    target = roll_target(np.array(cells), OCTUPLE)
    assert np.array_equal(target[0], target[1])  # a drum is to say what sounds with it


def test_device_and_numpy_agree_for_octuples_in_batches_with_padding():
    rng = np.random.default_rng(0)
    crops = []
    for count in (30, 17):
        cells = np.stack([rng.integers(0, high, count) for high in OCTUPLE.values], axis=1)
        cells[:, 0] = np.sort(rng.integers(0, 6, count))
        cells[:, 1], cells[:, 4] = rng.integers(0, 64, count), rng.integers(0, 40, count)
        crops.append(cells)
    events = np.zeros((2, 30, 5), np.int16)
    events[:, :, 1], events[:, :, 4] = ROWS, -1
    for row, cells in enumerate(crops):
        events[row, : len(cells)] = roll_events(cells, OCTUPLE)
    bars = int(events[:, :, 0].max()) + 1
    for chroma in (True, False):
        wanted = [roll_target(cells, OCTUPLE, chroma=chroma) for cells in crops]
        got = roll_targets(torch.from_numpy(events), bars, chroma=chroma)
        for row, target in enumerate(wanted):
            np.testing.assert_allclose(got[row, : len(target)].numpy(), target, rtol=0, atol=1e-6)
        real = torch.arange(30) < torch.tensor([[30], [17]])
        guess = torch.randn(60, got.shape[-1])
        loss = roll_loss(guess, torch.from_numpy(events), bars, real)
        parts = [((guess.view(2, 30, -1)[r, : len(t)].numpy() - t) ** 2).sum() for r, t in enumerate(wanted)]
        assert np.isclose(float(loss), sum(parts), rtol=1e-5)


def test_short_notes_of_compound_words_can_be_made_visible():
    cells = np.array([[0, 3, 40, 0]])
    assert not roll_target(cells, CP).any()
    assert roll_target(cells, CP, shortest=1).any()


def test_nothing():
    assert roll_target(np.tile(CP.pads, (3, 1)), CP).shape == (3, 1666)
    assert not roll_target(np.tile(CP.pads, (3, 1)), CP).any()
    assert roll_events(np.zeros((0, 4), int), CP).shape == (0, 5)
