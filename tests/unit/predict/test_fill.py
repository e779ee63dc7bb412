"""Hidden fields of notes, filled in by the language model."""

import numpy as np
import pytest
import torch

from musicbert.encoding import FIELD_OFFSETS, FIELD_SIZES, FIELDS, encode, rows_to_ids
from musicbert.encoding.policies import WHOLE
from musicbert.errors import ConfigError, MidiError
from musicbert.midi import Score, read_score
from musicbert.predict import FillOptions, choose_mask
from musicbert.predict.fill import log_likelihood

CLOSE = {"atol": 1e-5, "rtol": 0}
LONG = ("s13_2600_notes", "s09_long_truncation", "s18_sparse_over_256_bars")


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
    rows = encode(midi[name], policies=WHOLE)
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
        {"repetition_penalty": 0.5},
        {"repetition_penalty": {"pitch": float("inf")}},
        {"context": 0},
    )
    for options in wrong:
        with pytest.raises(ValueError, match=r"order|steps|top_p|temperature|field|allowed|penalty|context"):
            FillOptions(**options)
    rows = encode(midi["s01_basic_4_4"])
    with pytest.raises(MidiError, match="nothing-masked"):
        model.fill(rows, bars=(90, 99))
    with pytest.raises(ValueError, match="shape"):
        model.fill(rows, mask=np.ones((1, 8), bool))


def test_a_file_keeps_everything_that_was_not_hidden(model, midi, tmp_path):
    """Ticks, tracks, channels and all other events are those of the file; so is the score."""
    import io

    import mido

    for name in (*LONG, "s02_percussion_multi_program"):
        before, out = read_score(midi[name]), tmp_path / f"{name}.mid"
        options = {"fields": ["velocity"], "share": 0.3, "seed": 2, "options": FillOptions(temperature=2.0)}
        filled = model.fill(midi[name], **options)
        filled.save(out)
        after = read_score(out)
        for column in ("onset", "offset", "pitch", "program", "drum", "track", "control_tick", "tempo_tick"):
            np.testing.assert_array_equal(getattr(after, column), getattr(before, column), err_msg=column)
        np.testing.assert_array_equal(after.velocity, filled.score().velocity)
        hidden = filled.original.note_index[filled.mask.any(axis=1)]
        seen = np.setdiff1d(np.arange(len(before)), hidden)
        np.testing.assert_array_equal(after.velocity[seen], before.velocity[seen])
        assert (after.velocity[hidden] // 4 != before.velocity[hidden] // 4).any()
        events = [
            [[str(e.copy(velocity=1) if e.type == "note_on" and e.velocity else e) for e in t]
             for t in mido.MidiFile(file=io.BytesIO(path.read_bytes())).tracks]
            for path in (midi[name], out)
        ]  # fmt: skip
        assert events[0] == events[1]


def test_a_score_and_bars_without_notes_stay_as_they_are(model):
    """The silent bar of 3/4 keeps its length; notes after the published end of the encoding are kept."""
    onset = np.array([0, 4 * 480, 7 * 480, 70_000 * 30, 70_001 * 30])
    zeros = np.zeros_like(onset)
    score = Score(
        480, onset, onset + 200, zeros + 60, zeros + 66, zeros, zeros > 0, zeros,
        metre_tick=np.array([0, 1920, 3360]), metre_numerator=np.array([4, 3, 4]),
        metre_denominator=np.array([4, 4, 4]),
    )  # fmt: skip
    filled = model.fill(score, fields=["pitch"], notes=[0, 4])
    again = filled.score()
    np.testing.assert_array_equal(again.onset, onset)
    np.testing.assert_array_equal(again.velocity, score.velocity)
    np.testing.assert_array_equal(again.pitch[1:4], 60)
    assert again.pitch[[0, 4]].tolist() == filled.rows[[0, 4], 3].tolist()


@pytest.mark.parametrize("order", ["tokens", "notes"])
def test_the_orders_of_midiformers_are_plain_loops_over_the_network(model, midi, order):
    """Left to right, a token or a note ("octuple") a pass, most probable token of its own field."""
    rows = encode(midi["s05_ts_6_8"])
    mask = choose_mask(rows, fields=["program", "pitch", "duration", "velocity"], share=0.6, seed=1)
    ids = rows_to_ids(rows)
    ids[8:-8][mask.reshape(-1)] = 1236
    expected = rows.copy()
    hidden = np.argwhere(mask)
    groups = (
        hidden[:, None] if order == "tokens" else np.split(hidden, np.flatnonzero(np.diff(hidden[:, 0])) + 1)
    )
    for group in groups:
        with torch.inference_mode():
            logits, _ = model.module(torch.from_numpy(ids)[None])
        for row, number in group.tolist():
            own = logits[0, 8 + 8 * row + number, FIELD_OFFSETS[number] :][: FIELD_SIZES[number]].clone()
            if number == 3:  # drums, and only drums, have pitches from 128
                own[slice(128) if expected[row, 2] == 128 else slice(128, None)] = -torch.inf
            expected[row, number] = int(own.argmax())
            ids[8 + 8 * row + number] = FIELD_OFFSETS[number] + expected[row, number]
    filled = model.fill(rows, mask=mask, options=FillOptions(order=order))
    assert mask.sum() > 20
    np.testing.assert_array_equal(filled.rows, expected)


def test_repetition_is_penalised_by_field(model, midi):
    rows = encode(midi["s02_percussion_multi_program"])

    def repeats(number, **options):
        fields = ["pitch", "velocity"]
        filled = model.fill(
            rows, fields=fields, options=FillOptions(order="notes", temperature=0.5, **options)
        )
        programs = [filled.rows[rows[:, 2] == program, number] for program in np.unique(rows[:, 2])]
        return sum(int((values[1:] == values[:-1]).sum()) for values in programs), filled

    free, plain = repeats(3)
    assert free > repeats(3, repetition_penalty=50.0)[0]
    assert repeats(5)[0] > repeats(5, repetition_penalty={"velocity": 50.0})[0]
    _, first = repeats(3, repetition_penalty={"velocity": 50.0})
    assert first.rows[0, 3] == plain.rows[0, 3]  # nothing comes before it
    np.testing.assert_array_equal(repeats(3, repetition_penalty=1.0)[1].rows, plain.rows)
    where, table = first.distributions["velocity"]  # probabilities are those without the penalty
    chosen = table[np.arange(len(where)), first.rows[where, 5]]
    np.testing.assert_allclose(chosen, first.probability[where, 5])


def test_the_penalty_is_a_division_for_each_of_the_last_eight_notes(model, midi):
    rows = encode(midi["s01_basic_4_4"])
    rows[:, 2] = 0
    rows[:9, 3] = [60, 61, 60, 62, 60, 63, 64, 65, 66]
    _, plain = model.fill(rows, notes=[9]).distributions["pitch"]
    weights = plain[0].astype(float)
    weights[60] /= 3.0**2  # the first note is the ninth before
    weights[[61, 62, 63, 64, 65, 66]] /= 3.0
    filled = model.fill(rows, notes=[9], options=FillOptions(repetition_penalty=3.0))
    assert filled.rows[9, 3] == weights.argmax()


@pytest.mark.parametrize("order", ["once", "confident", "notes", "tokens"])
def test_distinct_notes_never_fall_on_one_another(model, midi, order):
    rows = encode(midi["s02_percussion_multi_program"])
    few = {"pitch": [*range(60, 67), *range(160, 170)], "position": [0, 8]}
    found = [
        model.fill(
            rows, fields=["position", "pitch"],
            options=FillOptions(order=order, temperature=2.0, allow=few, distinct=distinct),
        ).rows[:, :4]
        for distinct in (False, True)
    ]  # fmt: skip
    assert len(np.unique(found[0], axis=0)) < len(rows)
    assert len(np.unique(found[1], axis=0)) == len(rows)


def test_rules_of_the_encoding_win_over_allowed_values(model, midi, caplog):
    rows = encode(midi["s02_percussion_multi_program"])
    drums = rows[:, 2] == 128
    filled = model.fill(rows, options=FillOptions(temperature=2.0, allow={"pitch": [60, 61]}))
    assert set(filled.rows[~drums, 3]) == {60, 61}
    assert (filled.rows[drums, 3] >= 128).all()
    assert f"{drums.sum()} of {len(rows)} tokens" in caplog.text
    later = rows.copy()
    later[:, 0] += 300
    moved = model.fill(later, fields=["bar"], options=FillOptions(temperature=9.0, allow={"bar": [301, 302]}))
    assert set(moved.rows[:, 0]) == {301, 302}


def test_context_is_what_the_model_sees_around_the_hidden_notes(model, midi):
    rows = encode(midi["s13_2600_notes"], policies=WHOLE)
    options = FillOptions(context=100)
    filled = model.fill(rows, notes=[1500, 1520], options=options)
    alone = model.fill(rows[1400:1621], notes=[100, 120])
    np.testing.assert_array_equal(filled.rows[1400:1621], alone.rows)
    np.testing.assert_allclose(filled.probability[[1500, 1520], 3], alone.probability[[100, 120], 3], **CLOSE)
    np.testing.assert_array_equal(np.delete(filled.rows, [1500, 1520], 0), np.delete(rows, [1500, 1520], 0))


def test_tracks_and_other_instruments(model, midi):
    path = midi["s02_percussion_multi_program"]
    score, rows = read_score(path), encode(path)
    filled = model.fill(path, tracks=[1], instruments={int(score.program[score.track == 1][0]): 40})
    track = score.track[filled.original.note_index]
    np.testing.assert_array_equal(filled.mask[:, 3], track == 1)
    np.testing.assert_array_equal(filled.rows[track != 1, 2], rows[track != 1, 2])
    assert (filled.rows[track == 1, 2] == 40).all()
    with pytest.raises(ValueError, match="tracks with notes: 0, 1"):
        model.fill(path, tracks=[77])
    with pytest.raises(ValueError, match="rows have none"):
        model.fill(rows, tracks=[1])
    for wrong in ({99: 1}, {0: 128}, {128: 0}):
        with pytest.raises(ConfigError, match="bad-instrument"):
            model.fill(path, instruments=wrong)


def test_log_likelihoods_are_those_of_the_network(model, midi):
    rows = encode(midi["s05_ts_6_8"])
    mask = choose_mask(rows, fields=["pitch", "velocity"], notes=[2, 7, 11])
    found = log_likelihood(model.runner, model.read(rows), mask, passes=9)
    assert (np.isfinite(found) == mask).all()
    for note in (2, 7, 11):
        ids = rows_to_ids(rows)
        places = 8 + 8 * note + np.array([3, 5])
        ids[places] = 1236
        with torch.inference_mode():
            logits, _ = model.module(torch.from_numpy(ids)[None])
        for place, number in zip(places, (3, 5), strict=True):
            own = logits[0, place, FIELD_OFFSETS[number] :][: FIELD_SIZES[number]].log_softmax(-1)
            np.testing.assert_allclose(found[note, number], own[rows[note, number]], **CLOSE)
    together = log_likelihood(model.runner, model.read(rows), mask, passes=1)
    assert np.abs(together - found)[mask].max() > 1e-5
    with pytest.raises(ValueError, match="passes"):
        log_likelihood(model.runner, model.read(rows), mask, passes=0)
