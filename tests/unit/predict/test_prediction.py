"""What heads say about music, performance inputs, and models opened by path or name."""

import numpy as np
import pytest
import torch

import musicbert
from musicbert.encoding import PERFORMANCE_INPUTS, encode, rows_to_ids
from musicbert.errors import MidiError
from musicbert.predict import Model, cover
from musicbert.weights import read_bundle

CLOSE = {"atol": 1e-5, "rtol": 0}


def test_numbers_in_place_of_names_are_said_once(make_model, midi, caplog):
    model = make_model()
    model.predict(midi["s01_basic_4_4"], heads=["composer"])
    assert not caplog.records
    for _ in range(2):
        assert list(model.predict(midi["s01_basic_4_4"])["ratings"].as_dict()) == ["0", "1"]
    (record,) = caplog.records
    assert "no names of the outputs of ratings (2)" in record.getMessage()
    assert "labels=" in record.getMessage()


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_heads_say_what_the_network_says(make_model, midi, pooling):
    model = make_model(pooling=pooling)
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


def test_performance_inputs_come_from_the_music(make_model, midi):
    model = make_model(performance_features=len(PERFORMANCE_INPUTS))
    path = midi["s05_ts_6_8"]
    with torch.no_grad():
        model.module.encoder.sentence_encoder.performance_projection.weight.fill_(0.3)
    without = make_model()
    assert np.abs(model.embed(path) - without.embed(path)).max() > 1e-3
    with pytest.raises(MidiError, match="needs-music"):
        model.embed(encode(path))
    assert model.fill(encode(path), notes=[0]).mask.sum() == 1
    with pytest.raises(MidiError, match="other-inputs"):
        make_model(performance_features=2).embed(path)


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
    assert isinstance(musicbert.MusicBert.from_pretrained(tmp_path / "checkpoints" / "mine"), musicbert.Model)
    assert "topmagd_head" in repr(model)
    assert "tensors loaded" in str(model.report)
