"""Embeddings: of pieces, bars and notes, the same for any batch or order."""

import numpy as np
import pytest
import torch

from musicbert.encoding import Policies, encode, rows_to_ids
from musicbert.errors import MidiError
from musicbert.predict import Model, cover
from musicbert.predict.runner import multiplies_in_bfloat16

CLOSE = {"atol": 1e-5, "rtol": 0}
LONG = ("s13_2600_notes", "s09_long_truncation", "s18_sparse_over_256_bars")


def test_a_short_piece_gives_the_published_sentence_vector(model, midi):
    rows = encode(midi["s02_percussion_multi_program"])
    with torch.inference_mode():
        tokens = torch.from_numpy(rows_to_ids(rows))[None]
        sentence = model.module.sentence_features(tokens)[0].numpy()
        states = model.module.encoder.sentence_encoder(tokens, return_all_hiddens=True).inner_states
    np.testing.assert_allclose(model.embed(rows), sentence, **CLOSE)
    for layer in (0, 1, 2, -1, -3):
        notes = states[layer][0, 1:-1].numpy()
        np.testing.assert_allclose(model.embed(rows, level="note", layer=layer), notes, **CLOSE)
        np.testing.assert_allclose(model.embed(rows, pooling="mean", layer=layer), notes.mean(0), **CLOSE)
    np.testing.assert_allclose(model.embed(rows, layer=1), states[1][0, 0].numpy(), **CLOSE)
    by_bar = model.embed(rows, level="bar")
    numbers = np.unique(rows[:, 0])
    last = states[-1][0, 1:-1].numpy()
    assert by_bar.shape == (len(numbers), 16)
    for vector, bar in zip(by_bar, numbers, strict=True):
        np.testing.assert_allclose(vector, last[rows[:, 0] == bar].mean(0), **CLOSE)


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "mean"}, {"level": "note"}, {"level": "bar"}, {"layer": 1}]
)
def test_batches_and_order_do_not_matter(model, midi, options):
    paths = list(midi.values())
    alone = [model.embed(path, **options) for path in paths]
    for order in (range(len(paths)), reversed(range(len(paths)))):
        order = list(order)
        together = model.embed([paths[index] for index in order], **options)
        for found, index in zip(together, order, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, alone[index], **CLOSE)


def test_long_pieces_are_stitched(model, midi):
    for name in LONG:
        rows = encode(midi[name], policies=Policies(beyond_limit="keep"))  # whole pieces
        notes = model.embed(midi[name], level="note")
        assert notes.shape == (len(rows), 16)
        assert np.isfinite(notes).all()
        np.testing.assert_allclose(model.embed(midi[name], pooling="mean"), notes.mean(0), **CLOSE)
        spans = cover(rows[:, 0])
        assert len(spans) > 1
        # where only one window looks, it alone decides
        span = spans[0]
        own = span.share == 1
        window = rows[span.start : span.stop].copy()
        window[:, 0] -= span.first_bar
        np.testing.assert_allclose(
            model.embed(window, level="note")[own], notes[span.start : span.stop][own], **CLOSE
        )


def test_the_window_follows_the_position_table(micro, midi):
    assert micro.window == 62
    assert micro.embed(midi["s13_2600_notes"], level="note").shape == (2600, 16)


def test_wrong_requests_are_named(model, midi):
    rows = encode(midi["s01_basic_4_4"])
    for options in ({"level": "track"}, {"pooling": "max"}, {"layer": 3}, {"layer": -4}):
        with pytest.raises(ValueError, match=r"level|layer"):
            model.embed(rows, **options)
    with pytest.raises(MidiError, match="no-notes"):
        model.embed(rows[:0])
    with pytest.raises(MidiError, match="not sorted"):
        model.embed(rows[::-1])
    with pytest.raises(MidiError, match="not-found"):
        model.embed(["nowhere.mid"])
    assert model.embed([]) == []


def test_a_cpu_computes_in_float32_and_a_gpu_in_bfloat16(model):
    assert not model.runner.bfloat16  # on a CPU, by default
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [multiplies_in_bfloat16("auto", device) for device in (cpu, gpu)] == [False, True]
    assert [multiplies_in_bfloat16("float32", device) for device in (cpu, gpu)] == [False, False]
    assert [multiplies_in_bfloat16("bfloat16", device) for device in (cpu, gpu)] == [True, True]


def test_bfloat16_is_near(model, midi):
    half = Model(model._bundle, device="cpu", precision="bfloat16")
    exact, rounded = model.embed(midi["s05_ts_6_8"]), half.embed(midi["s05_ts_6_8"])
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
    with pytest.raises(ValueError, match="precision"):
        Model(model._bundle, precision="float8")
