"""Models on music: embeddings, predictions and filled gaps, at tiny random weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import musicbert
from musicbert.config import ModelConfig
from musicbert.encoding import FIELD_SIZES, FIELDS, PERFORMANCE_INPUTS, encode, rows_to_ids
from musicbert.errors import MidiError
from musicbert.model import MusicBert
from musicbert.predict import FillOptions, Model, choose_mask, cover
from musicbert.weights import Bundle, Head, read_bundle

CONFIG = ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=1100)
CLOSE = {"atol": 1e-5, "rtol": 0}
SHORT = ("s01_basic_4_4", "s02_percussion_multi_program", "s05_ts_6_8", "s15_unison_duplicates")
LONG = ("s13_2600_notes", "s09_long_truncation", "s18_sparse_over_256_bars")


def bundle_of(model, heads=(), **options):
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return Bundle(model.config, weights, heads, **options)


def made_model(seed=0, pooling="first", **changes):
    torch.manual_seed(seed)
    module = MusicBert(CONFIG.with_(**changes), pooling=pooling)
    module.register_classification_head("composer", 3)
    module.register_regression_head("ratings", 2)
    heads = (
        Head("composer", "classification", 3, "softmax", ("a", "b", "c")),
        Head("ratings", "regression", 2, "sigmoid"),
    )
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(4)  # far from the near-equal outputs of new weights
    return Model(bundle_of(module, heads, pooling=pooling), device="cpu")


@pytest.fixture(scope="module")
def model():
    return made_model()


@pytest.fixture(scope="module")
def micro(fixtures):
    return Model(read_bundle(fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt"), device="cpu")


@pytest.fixture(scope="module")
def midi(fixtures):
    return {name: fixtures / "musicbert" / f"{name}.mid" for name in (*SHORT, *LONG)}


# --- windows


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


# --- embeddings


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
        rows = encode(midi[name])
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


def test_bfloat16_is_near(model, midi):
    half = Model(model._bundle, device="cpu", precision="bfloat16")
    exact, rounded = model.embed(midi["s05_ts_6_8"]), half.embed(midi["s05_ts_6_8"])
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
    with pytest.raises(ValueError, match="precision"):
        Model(model._bundle, precision="float8")


# --- heads


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_heads_say_what_the_network_says(midi, pooling):
    model = made_model(pooling=pooling)
    path = midi["s02_percussion_multi_program"]
    found = model.predict(path)
    with torch.inference_mode():
        tokens = torch.from_numpy(rows_to_ids(encode(path)))[None]
        (classes, ratings), _ = model.module(
            tokens, classification_head_name="composer", regression_head_name="ratings"
        )
    np.testing.assert_allclose(found["composer"].logits, classes[0], **CLOSE)
    np.testing.assert_allclose(found["composer"].scores, classes[0].softmax(-1), **CLOSE)
    np.testing.assert_allclose(found["ratings"].scores, ratings[0].sigmoid(), **CLOSE)
    assert found["composer"].best == "abc"[int(classes.argmax())]
    assert list(found["composer"].as_dict()) == ["a", "b", "c"]
    assert list(found["ratings"].as_dict()) == ["0", "1"]
    together = model.predict([*midi.values()], heads=["ratings"])
    assert [list(entry) for entry in together] == [["ratings"]] * len(midi)
    np.testing.assert_allclose(together[1]["ratings"].logits, found["ratings"].logits, **CLOSE)


def test_long_pieces_weigh_their_windows_by_notes(model, midi):
    rows = encode(midi["s13_2600_notes"])
    parts = []
    for span in cover(rows[:, 0]):
        window = rows[span.start : span.stop].copy()
        window[:, 0] -= span.first_bar
        parts.append((span.share.sum() / len(rows), model.predict(window)["composer"].logits))
    assert len(parts) > 2
    expected = sum(weight * logits for weight, logits in parts)
    np.testing.assert_allclose(model.predict(rows)["composer"].logits, expected, **CLOSE)


def test_the_golden_head(micro, fixtures, midi):
    assert micro.heads["topmagd_head"].activation == "sigmoid"
    scores = micro.predict(midi["s01_basic_4_4"])["topmagd_head"].scores
    assert scores.shape == (3,)
    assert ((scores > 0) & (scores < 1)).all()
    with pytest.raises(ValueError, match="topmagd_head"):
        micro.predict(midi["s01_basic_4_4"], heads=["mood"])
    plain = Model(read_bundle(fixtures / "musicbert_model" / "micro_pretrained_v1.0.0a0_cfg.pt"))
    with pytest.raises(ValueError, match="not fine-tuned"):
        plain.predict(midi["s01_basic_4_4"])


def test_performance_inputs_come_from_the_music(midi):
    model = made_model(performance_features=len(PERFORMANCE_INPUTS))
    path = midi["s05_ts_6_8"]
    with torch.no_grad():
        model.module.encoder.sentence_encoder.performance_projection.weight.fill_(0.3)
    without = made_model()
    assert np.abs(model.embed(path) - without.embed(path)).max() > 1e-3
    with pytest.raises(MidiError, match="needs-music"):
        model.embed(encode(path))
    assert model.fill(encode(path), notes=[0]).mask.sum() == 1
    with pytest.raises(MidiError, match="other-inputs"):
        made_model(performance_features=2).embed(path)


# --- gaps


def test_only_what_is_hidden_changes_and_every_field_keeps_to_its_tokens(model, midi):
    rows = encode(midi["s02_percussion_multi_program"])
    filled = model.fill(rows, fields=FIELDS, share=0.5, seed=3)
    assert 0 < filled.mask.any(axis=1).sum() <= len(rows) // 2 + 1
    np.testing.assert_array_equal(filled.rows[~filled.mask], rows[~filled.mask])
    assert np.isnan(filled.probability[~filled.mask]).all()
    assert ((filled.probability[filled.mask] > 0) & (filled.probability[filled.mask] <= 1)).all()
    for number, name in enumerate(FIELDS):
        where, table = filled.distributions[name]
        assert table.shape == (filled.mask[:, number].sum(), FIELD_SIZES[number])
        np.testing.assert_allclose(table.sum(1), 1, atol=1e-5)
        chosen = filled.rows[where, number]
        np.testing.assert_allclose(table[np.arange(len(where)), chosen], filled.probability[where, number])
    assert len(filled.score()) == len(rows)


def test_the_likeliest_token_is_that_of_the_network(model, midi):
    rows = encode(midi["s05_ts_6_8"])
    mask = choose_mask(rows, fields=["velocity", "duration"], notes=[1, 4, -1])
    ids = rows_to_ids(rows)
    ids[8:-8][mask.reshape(-1)] = 1236
    with torch.inference_mode():
        logits, _ = model.module(torch.from_numpy(ids)[None])
    logits = logits[0, 8:-8].unflatten(0, (-1, 8))
    filled = model.fill(rows, mask=mask)
    for number, offset in ((4, 773), (5, 901)):
        own = logits[:, number, offset : offset + FIELD_SIZES[number]].softmax(-1).numpy()
        for row in (1, 4, len(rows) - 1):
            assert filled.rows[row, number] == own[row].argmax()
            np.testing.assert_allclose(filled.probability[row, number], own[row].max(), **CLOSE)


@pytest.mark.parametrize("order", ["once", "confident", "notes", "tokens"])
def test_every_order_fills_everything_the_same_way_again(model, midi, order):
    rows = encode(midi["s05_ts_6_8"])
    options = FillOptions(order=order, steps=3, temperature=1.0)
    first, again, other = (
        model.fill(rows, fields=["pitch", "velocity"], seed=seed, options=options) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.rows, again.rows)
    assert (first.rows != other.rows).any()
    assert np.isfinite(first.probability[first.mask]).all()
    assert first.mask.sum() == 2 * len(rows)


def test_one_token_is_the_same_in_every_order(model, midi):
    rows = encode(midi["s05_ts_6_8"])
    found = [
        model.fill(rows, notes=[3], options=FillOptions(order=order)).probability[3, 3]
        for order in ("once", "confident", "notes", "tokens")
    ]
    np.testing.assert_allclose(found, found[0], **CLOSE)


def test_later_orders_know_what_was_chosen(model, midi):
    rows = encode(midi["s05_ts_6_8"])
    once, tokens = (
        model.fill(rows, fields=["velocity"], options=FillOptions(order=order))
        for order in ("once", "tokens")
    )
    assert np.abs(once.probability - tokens.probability)[1:, 5].max() > 1e-6
    np.testing.assert_allclose(once.probability[0, 5], tokens.probability[0, 5], **CLOSE)


def test_drawing_follows_its_settings(model, midi):
    rows = encode(midi["s05_ts_6_8"])

    def fill(**options):
        return model.fill(rows, fields=["velocity"], options=FillOptions(**options)).rows[:, 5]

    likeliest = fill()
    np.testing.assert_array_equal(fill(temperature=2.0, top_k=1), likeliest)
    np.testing.assert_array_equal(fill(temperature=2.0, top_p=1e-9), likeliest)
    np.testing.assert_array_equal(fill(temperature={"pitch": 3.0}), likeliest)
    assert (fill(temperature={"velocity": 3.0}) != likeliest).any()
    assert set(fill(temperature=9.0, allow={"velocity": [3, 9]})) == {3, 9}
    _, table = model.fill(rows, fields=["velocity"]).distributions["velocity"]
    drawn = fill(temperature=5.0, top_k=3)
    for value, probabilities in zip(drawn, table, strict=True):
        assert value in np.argsort(-probabilities)[:3]


def test_drums_are_reachable_and_stay_drums(model, midi):
    rows = encode(midi["s02_percussion_multi_program"])
    drums = rows[:, 2] == 128
    assert drums.any()
    assert not drums.all()
    hot = FillOptions(temperature=50.0)
    pitches = model.fill(rows, fields=["pitch"], options=hot).rows[:, 3]
    np.testing.assert_array_equal(pitches >= 128, drums)
    programs = model.fill(rows, fields=["program"], options=hot).rows[:, 2]
    np.testing.assert_array_equal(programs == 128, drums)
    only = model.fill(rows, fields=["program", "pitch"], options=FillOptions(allow={"program": [128]})).rows
    assert (only[:, 2] == 128).all()
    assert (only[:, 3] >= 128).all()
    both = model.fill(rows, fields=["position", "time_signature"], options=hot)
    from musicbert.encoding.quantise import BAR_LENGTHS

    assert (both.rows[:, 1] < BAR_LENGTHS[both.rows[:, 6]]).all()


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("order", ["once", "confident"])
def test_whole_pieces_are_filled(model, midi, name, order):
    rows = encode(midi[name])
    filled = model.fill(
        midi[name],
        fields=["bar", "pitch"],
        share=0.2,
        options=FillOptions(order=order, steps=2, temperature=3.0),
    )
    assert filled.rows.shape == rows.shape
    np.testing.assert_array_equal(filled.rows[~filled.mask], rows[~filled.mask])
    assert np.isfinite(filled.probability[filled.mask]).all()
    assert len(filled.score()) == len(rows)


def test_what_to_hide_can_be_chosen(midi):
    rows = encode(midi["s02_percussion_multi_program"])
    some = choose_mask(rows, fields=["pitch", "tempo"], bars=(1, 1), programs=[128])
    np.testing.assert_array_equal(some[:, 3], (rows[:, 0] == 1) & (rows[:, 2] == 128))
    np.testing.assert_array_equal(some[:, 3], some[:, 7])
    assert not some[:, :3].any()
    assert choose_mask(rows, share=0.5).sum() == round(len(rows) / 2)
    for wrong in ({"fields": ["colour"]}, {"share": 2}, {"notes": [10**6]}):
        with pytest.raises(ValueError, match=r"field|share|notes"):
            choose_mask(rows, **wrong)


def test_wrong_options_of_filling_are_named(model, midi):
    wrong = (
        {"order": "twice"},
        {"steps": 0},
        {"top_p": 0},
        {"top_k": -1},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": {"colour": 1}},
        {"temperature": {"pitch": -1}},
        {"allow": {"pitch": []}},
        {"allow": {"velocity": [32]}},
    )
    for options in wrong:
        with pytest.raises(ValueError, match=r"order|steps|top_p|temperature|field|allowed"):
            FillOptions(**options)
    rows = encode(midi["s01_basic_4_4"])
    with pytest.raises(MidiError, match="nothing-masked"):
        model.fill(rows, bars=(90, 99))
    with pytest.raises(ValueError, match="shape"):
        model.fill(rows, mask=np.ones((1, 8), bool))


# --- opening


def test_models_are_opened_by_path_and_by_name(fixtures, tmp_path, midi):
    source = fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt"
    model = musicbert.from_pretrained(source)
    model.save(tmp_path / "checkpoints" / "mine")
    for name, options in (
        (tmp_path / "checkpoints" / "mine", {}),
        ("mine", {"folders": [tmp_path / "checkpoints"]}),
    ):
        again = Model.from_pretrained(name, **options)
        np.testing.assert_array_equal(again.embed(midi["s01_basic_4_4"]), model.embed(midi["s01_basic_4_4"]))
        assert again.heads == model.heads
    assert "topmagd_head" in repr(model)
    assert "tensors loaded" in str(model.report)
