"""Augmentation of notes and their performance inputs."""

import numpy as np
import pytest

from musicbert.encoding import PERFORMANCE_INPUTS
from musicbert.encoding.quantise import duration_value

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # fairseq is older than its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def augmented(spec, rows, performance=None, seed=0):
    from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation

    rng = np.random.default_rng(seed)
    changed, inputs, origin = parse_augmentation(spec)(np.array(rows), performance, rng)
    assert len(set(origin)) == len(changed)  # for labels of notes
    return changed, inputs


ROWS = [
    [3, 0, 0, 60, 20, 16, 9, 35],
    [3, 32, 0, 64, 20, 16, 9, 35],
    [4, 16, 0, 67, 20, 30, 9, 35],
    [4, 16, 128, 170, 0, 16, 9, 35],
]


def test_transpose_moves_pitch_and_its_input_but_no_drums():
    inputs = np.zeros((4, len(PERFORMANCE_INPUTS)), np.float32)
    shifts = set()
    for seed in range(40):
        rows, moved = augmented("transpose=2", ROWS, inputs, seed)
        shift = rows[0, 3] - 60
        shifts.add(int(shift))
        assert rows[:, 3].tolist() == [60 + shift, 64 + shift, 67 + shift, 170]
        column = PERFORMANCE_INPUTS.index("pitch")
        np.testing.assert_allclose(moved[:, column], np.array([1, 1, 1, 0]) * shift / 20, rtol=1e-6)
    assert shifts == {-2, -1, 0, 1, 2}
    assert not inputs.any()
    assert all(
        augmented("transpose=9", [[0, 0, 0, 127, 1, 1, 9, 35]], seed=s)[0][0, 3] <= 127 for s in range(9)
    )


def test_velocity_is_clipped():
    inputs = np.zeros((4, len(PERFORMANCE_INPUTS)), np.float32)
    for seed in range(20):
        rows, moved = augmented("velocity=3", ROWS, inputs, seed)
        shift = rows[0, 5] - 16
        assert rows[2, 5] == min(30 + shift, 31)
        column = PERFORMANCE_INPUTS.index("velocity")
        np.testing.assert_allclose(moved[0, column], 4 * shift / 32)


def test_bar_and_phase_keep_the_distances():
    for seed in range(20):
        rows, _ = augmented("phase=70,bar", ROWS, seed=seed)
        onsets = rows[:, 0] * 64 + rows[:, 1]
        assert (onsets - onsets[0]).tolist() == [0, 32, 80, 80]
        assert (rows[:, 0] < 256).all()
        assert (rows[:, 1] < 64).all()
    late = [[255, 60, 0, 60, 20, 16, 9, 35]]
    assert all(augmented("phase=9", late, seed=s)[0].tolist() == late for s in range(9) if s)
    mixed = [*ROWS[:3], [5, 0, 0, 60, 20, 16, 8, 35]]
    assert augmented("phase=9,stretch=0.3", mixed)[0].tolist() == mixed


def test_stretch_scales_time_everywhere():
    inputs = np.ones((4, len(PERFORMANCE_INPUTS)), np.float32)
    rows, moved = augmented("stretch=0.5", ROWS, inputs, seed=1)
    column = PERFORMANCE_INPUTS.index
    factor = moved[0, column("asynchrony")]
    assert factor != pytest.approx(1)
    onsets = (rows[:, 0] - 3) * 64 + rows[:, 1]
    np.testing.assert_allclose(onsets, np.rint(np.array([0, 32, 80, 80]) * factor))
    np.testing.assert_allclose(moved[:, column("ioi_next")], 1 + np.log(factor), rtol=1e-5)
    assert duration_value(rows[:, 4])[0] == pytest.approx(duration_value(np.array([20]))[0] * factor, abs=1.5)
    assert (moved[:, column("pitch")] == 1).all()


def test_drop_keeps_at_least_one_note():
    lengths = {len(augmented("drop=0.9", ROWS, seed=seed)[0]) for seed in range(30)}
    assert min(lengths) == 1


def test_no_augmentation():
    from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation

    assert parse_augmentation("") is None
    assert parse_augmentation("drop=0") is None
