"""Windows over long pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding import FIELD_SIZES
from musicbert.predict import cover, from_pretrained
from musicbert.predict.windows import trained_positions


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=80),
    st.integers(2, 20),
    st.integers(0, 10),
)
def test_windows_cover_every_note(steps, window, overlap):
    bars = np.cumsum(steps)
    spans = cover(bars, window=window, overlap=min(overlap, window - 1))
    total = np.zeros(len(bars))
    for span in spans:
        assert 0 < span.stop - span.start <= window
        inside = bars[span.start : span.stop] - span.first_bar
        assert inside.min() >= 0
        assert inside.max() < FIELD_SIZES[0]
        assert (span.share > 0).all()
        total[span.start : span.stop] += span.share
    np.testing.assert_allclose(total, 1)
    assert [span.stop for span in spans] == sorted({span.stop for span in spans})
    if bars[-1] < FIELD_SIZES[0]:
        assert all(span.first_bar == 0 for span in spans)


def test_windows_cross_fade_linearly():
    first, second = cover(np.zeros(14, np.int64), window=10, overlap=4)
    assert (first.start, first.stop, second.start, second.stop) == (0, 10, 6, 14)
    np.testing.assert_allclose(first.share, [1] * 6 + [0.8, 0.6, 0.4, 0.2])
    np.testing.assert_allclose(second.share, [0.2, 0.4, 0.6, 0.8] + [1] * 4)
    with pytest.raises(ValueError, match="overlap"):
        cover(np.zeros(3, np.int64), window=4, overlap=4)


def test_positions_that_training_never_reached_are_known():
    """Trained positions are larger and like their neighbours; drawn ones are neither."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 0.02, (1024, 64))
    smooth = np.cumsum(rng.normal(0, 0.02, (1024, 64)), axis=0)
    for end in (128, 512, 900):
        assert trained_positions(np.concatenate([drawn[:end] + smooth[:end], drawn[end:]])) == end
    for whole in (drawn, drawn + smooth, 1.2 * drawn, np.concatenate([1.2 * drawn[:500], drawn[500:]])):
        assert trained_positions(whole) is None
    short = np.concatenate([drawn[:10] + smooth[:10], drawn[10:]])
    assert trained_positions(short) is None  # too few to be sure


def test_a_network_reads_no_longer_windows_than_it_was_trained_on():
    for name in ("musicbert-mini", "musicbert-mini-performance"):  # windows of 512 notes, of 1,024 positions
        model = from_pretrained(name, device="cpu")
        assert (model.config.max_positions, model.window, model.overlap) == (1024, 512, 128)
