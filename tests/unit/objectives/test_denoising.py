"""Corruptions of cells: what may change, how often, and that nothing else does."""

import numpy as np
import pytest

from musicbert.objectives.denoising import (
    CellMaskPolicy,
    NoisePolicy,
    add_noise,
    mask_cells,
    noise_radii,
)
from musicbert.objectives.note_fields import CP, OCTUPLE

BAR, POSITION, PITCH, DURATION = range(4)
PUBLISHED = NoisePolicy(noise_radii(CP, (4, 12, 12)))


def cp(count, seed=0, pads=0):
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.integers(0, high, count) for high in CP.values], axis=1)
    return np.concatenate([cells, np.tile(CP.pads, (pads, 1))])


def octuples(count, seed=0):
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.integers(0, high, count) for high in OCTUPLE.values], axis=1)
    cells[:, 0] = np.sort(cells[:, 0])
    cells[:, 1] = rng.integers(0, 64, count)
    cells[:, 2] = np.where(rng.random(count) < 0.3, 128, 5)
    cells[:, 3] = rng.integers(0, 128, count) + 128 * (cells[:, 2] == 128)
    cells[:, 6] = rng.choice([9, 8], count)
    return cells


class TestNoise:
    def test_as_many_notes_as_published_and_no_padding(self):
        for count, pads in ((1024, 0), (10, 50), (1, 0), (5, 1)):
            cells = cp(count, pads=pads)
            before = cells.copy()
            source, selected = add_noise(cells, np.random.default_rng(0), CP, PUBLISHED)
            assert np.array_equal(cells, before)
            assert selected.all(axis=1).sum() == selected.any(axis=1).sum() == round(0.3 * count)
            assert not selected[count:].any()
            assert np.array_equal(source[~selected], cells[~selected])
            assert np.array_equal(source[:, BAR], cells[:, BAR])

    @pytest.mark.parametrize("symmetric", [False, True])
    def test_each_value_of_the_range_is_equally_likely(self, symmetric):
        cells = np.tile([[1, 8, 40, 30]], (40_000, 1))
        policy = NoisePolicy(PUBLISHED.radii, symmetric=symmetric)
        source, selected = add_noise(cells, np.random.default_rng(1), CP, policy)
        for column, radius in ((POSITION, 4), (PITCH, 12), (DURATION, 12)):
            values, counts = np.unique(source[selected[:, 0], column], return_counts=True)
            centre, last = cells[0, column], radius if symmetric else radius - 1
            assert values.tolist() == list(range(centre - radius, centre + last + 1))
            expected = 12_000 / len(values)
            assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()

    def test_columns_are_drawn_for_themselves(self):
        cells = np.tile([[1, 8, 40, 30]], (20_000, 1))
        source, selected = add_noise(cells, np.random.default_rng(2), CP, PUBLISHED)
        drawn = source[selected[:, 0]].astype(float)
        correlation = np.corrcoef(drawn[:, 1:].T)
        assert np.abs(correlation - np.eye(3)).max() < 0.05
        unchanged = (drawn == cells[0]).all(axis=1).mean()
        assert unchanged == pytest.approx(1 / (8 * 24 * 24), abs=1e-3)

    def test_values_at_the_ends_stay_legal(self):
        corners = np.array([[0, p, q, d] for p in (0, 15) for q in (0, 85) for d in (0, 63)])
        cells = np.repeat(corners, 200, axis=0)
        source, _ = add_noise(cells, np.random.default_rng(3), CP, NoisePolicy(PUBLISHED.radii, prob=1.0))
        assert (source >= 0).all()
        assert (source < CP.values).all()
        top = source[cells[:, PITCH] == 85, PITCH]
        assert (top.min(), top.max()) == (73, 85)  # the upper end is cut, so 85 itself is in

    def test_octuples_keep_their_bar_program_and_kind(self):
        cells = octuples(4000)
        policy = NoisePolicy(noise_radii(OCTUPLE, (4, 12, 12, 3)), prob=1.0)
        source, selected = add_noise(cells, np.random.default_rng(4), OCTUPLE, policy)
        assert selected.all()
        changed = (source != cells).mean(axis=0)
        names = dict(zip(OCTUPLE.names, changed, strict=True))
        assert all(names[name] > 0.5 for name in ("position", "pitch", "duration", "velocity"))
        assert names["bar"] == names["program"] == names["time_signature"] == names["tempo"] == 0
        drums = cells[:, 2] == 128
        assert (source[drums, 3] >= 128).all()
        assert (source[~drums, 3] < 128).all()
        shift = source[:, 1] - cells[:, 1]
        assert (shift.min(), shift.max()) == (-16, 15)  # four sixteenths are 16 positions
        assert (source < OCTUPLE.values).all()
        three_four = cells[:, 6] == 8  # 3/4 has 48 positions
        inside = three_four & (cells[:, 1] < 48)
        assert source[inside, 1].max() < 48

    def test_wrong_policies(self):
        for widths in ((4, 12), (4, 12, 12, 1, 1), (-1, 2, 3), (4, 12, 12, 1)):
            with pytest.raises(ValueError, match=r"half-widths|velocity"):
                noise_radii(CP, widths)
        assert noise_radii(CP, (4, 12, 12, 0)) == (0, 4, 12, 12)
        with pytest.raises(ValueError, match="share"):
            NoisePolicy((0, 0, 0, 0), prob=1.1)


class TestMasks:
    def test_midibert_selects_whole_notes_and_padding(self):
        cells = cp(300, pads=212)
        policy = CellMaskPolicy("midibert")
        assert policy.selects_padding
        kept = masked = random = beyond = 0
        for seed in range(60):
            source, selected = mask_cells(cells, np.random.default_rng(seed), CP, policy)
            notes = selected.all(axis=1)
            assert np.array_equal(notes, selected.any(axis=1))
            assert notes.sum() == round(0.15 * 512) == 77
            hidden = (source == CP.masks).all(axis=1) & notes
            assert hidden.sum() >= round(0.8 * 77)
            stays = (source == cells).all(axis=1) & notes
            kept, masked = kept + stays.sum(), masked + hidden.sum()
            random += (notes & ~hidden & ~stays).sum()
            beyond += (source[notes & ~hidden & ~stays] >= CP.values).any(axis=1).sum()
            assert notes[300:].any()
        total = 60 * 77
        assert masked / total == pytest.approx(0.8, abs=0.02)
        assert random / total == pytest.approx(0.1, abs=0.02)
        assert kept / total == pytest.approx(0.1, abs=0.02)
        assert beyond > 0  # random ids may be PAD or MASK

    @pytest.mark.parametrize("strategy", ["element", "compound", "bar"])
    @pytest.mark.parametrize("fields", [CP, OCTUPLE])
    def test_shares_and_legal_values(self, strategy, fields):
        cells = cp(6000) if fields is CP else octuples(6000)
        pads = np.tile(fields.pads, (50, 1))
        cells = np.concatenate([cells, pads])
        source, selected = mask_cells(cells, np.random.default_rng(5), fields, CellMaskPolicy(strategy))
        assert not selected[-50:].any()
        assert np.array_equal(source[~selected], cells[~selected])
        hidden = source == fields.masks
        assert (hidden <= selected).all()
        others = selected & ~hidden
        assert (source < fields.values)[others].all()
        tolerance = {"element": 0.01, "compound": 0.02, "bar": 0.06}[strategy]
        assert selected[:-50].mean() == pytest.approx(0.15, abs=tolerance)
        assert hidden.sum() / selected.sum() == pytest.approx(0.8, abs=2 * tolerance)

    def test_bars_are_decided_together(self):
        cells = cp(900, seed=6)
        _, selected = mask_cells(cells, np.random.default_rng(6), CP, CellMaskPolicy("bar"))
        bars = CP.bars(cells)
        for column in range(4):
            by_bar = np.bincount(bars, selected[:, column]) / np.bincount(bars)
            assert set(by_bar) == {0.0, 1.0}
        assert len({tuple(row) for row in selected}) > 4  # columns for themselves

    def test_bars_of_octuples_are_those_of_a_program(self):
        cells = octuples(900)
        _, selected = mask_cells(cells, np.random.default_rng(7), OCTUPLE, CellMaskPolicy("bar"))
        groups = {}
        for row, chosen in zip(cells, selected, strict=True):
            groups.setdefault((row[0], row[2]), set()).add(tuple(chosen))
        assert all(len(found) == 1 for found in groups.values())

    def test_mixtures_take_turns(self):
        policy = CellMaskPolicy("element+compound")
        kinds = set()
        for seed in range(20):
            _, selected = mask_cells(cp(200), np.random.default_rng(seed), CP, policy)
            kinds.add(bool((selected.any(axis=1) == selected.all(axis=1)).all()))
        assert kinds == {True, False}

    def test_wrong_policies(self):
        with pytest.raises(ValueError, match="none of"):
            CellMaskPolicy("bar+notes")
        with pytest.raises(ValueError, match="within 0-1"):
            CellMaskPolicy("bar", random_prob=0.6, leave_prob=0.6)


def test_the_generator_decides_everything():
    cells = cp(100)
    for draw in (
        lambda seed: add_noise(cells, np.random.default_rng(seed), CP, PUBLISHED),
        lambda seed: mask_cells(cells, np.random.default_rng(seed), CP, CellMaskPolicy("bar+element")),
    ):
        first, again, other = draw([1, 2, 3]), draw([1, 2, 3]), draw([1, 2, 4])
        assert np.array_equal(first[0], again[0])
        assert not np.array_equal(first[0], other[0])
