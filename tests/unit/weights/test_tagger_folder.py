"""Fine-tuned taggers on disk and in use: the same numbers, whatever the batch, and one error for damage."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from musicbert.config import M2BERT_PRESETS, MidiBertConfig, ModelConfig
from musicbert.encoding.codecs import get_codec
from musicbert.errors import CheckpointError
from musicbert.midi import Score
from musicbert.model import MusicBert
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.predict.tagger import load_tagger_model
from musicbert.predict.windows import Layout
from musicbert.weights.tagger_folder import is_tagger_folder, load_tagger_folder, save_tagger_folder

CLASSES = ("a", "b", "c")


def backbone(family):
    torch.manual_seed(0)
    if family == "musicbert":
        return MusicBert(ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=256))
    if family == "midibert":
        return MidiBert(
            MidiBertConfig(layers=2, width=16, ffn_width=24, heads=2, embedding_width=8, max_positions=64)
        )
    tiny = M2BERT_PRESETS["tiny"]
    return M2Bert(tiny.with_(layers=2, width=16, ffn_width=24, heads=2, embedding_width=8, roll_outputs=0))


def make(folder, family, *, level="sequence", kind="classes", head="attention", window=12, overlap=4):
    tagger = Tagger(backbone(family), TagSettings(3, head="note" if level == "note" else head)).eval()
    tagger.spread.fill_(2.0)
    settings = {
        "family": family,
        "architecture": asdict(tagger.backbone.config),
        "codec": "octuple" if family == "musicbert" else "cp",
        "window": window,
        "overlap": overlap,
        "windows": "all",
        "head": asdict(tagger.settings),
        "task": {"name": "x", "label": "x", "level": level, "kind": kind, "classes": CLASSES, "ignore": []},
        "origin": {},
    }
    save_tagger_folder(folder, tagger.state_dict(), settings)
    return tagger


def score(seed, notes=30):
    rng = np.random.default_rng(seed)
    zeros = np.zeros(notes, np.int64)
    onset = rng.integers(0, 40, notes) * 240  # in no order
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(30, 100, notes),
        velocity=rng.integers(4, 128, notes),
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


@pytest.mark.parametrize("family", ["musicbert", "m2bert", "midibert"])
def test_weights_and_settings_come_back(tmp_path, family):
    made = make(tmp_path / "model", family)
    assert is_tagger_folder(tmp_path / "model")
    back, settings = load_tagger_folder(tmp_path / "model")
    assert settings["task"]["classes"] == list(CLASSES)
    state = back.state_dict()
    assert list(state) == list(made.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in made.state_dict().items())


@pytest.mark.parametrize("family", ["musicbert", "m2bert", "midibert"])
@pytest.mark.parametrize("level", ["sequence", "note"])
def test_one_window_is_what_the_network_says(tmp_path, family, level):
    tagger = make(tmp_path / "model", family, level=level, window=100)
    music = score(0)
    codec = get_codec("octuple" if family == "musicbert" else "cp")
    layout = Layout(codec.name, cells=family != "musicbert")
    rows, index = codec.encode(music)
    with torch.inference_mode():
        logits = tagger(layout.collate([layout.tokens(rows, 0)]))[0]
    (found,) = load_tagger_model(tmp_path / "model", device="cpu").predict([music])
    if level == "sequence":
        np.testing.assert_allclose(found.scores, logits.softmax(-1), rtol=1e-4, atol=1e-6)
        assert found.best == CLASSES[int(logits.argmax())]
        assert found.as_dict() == dict(zip(CLASSES, found.scores.tolist(), strict=True))
        return
    own = logits[layout.lead : layout.lead + len(rows)].softmax(-1).numpy()
    np.testing.assert_allclose(found.scores[index], own, rtol=1e-4, atol=1e-6)  # in the order of the score
    assert found.known.sum() == len(index)
    assert found.best[int(index[3])] == CLASSES[int(own[3].argmax())]
    assert [value is None for value in found.as_dict()["a"]] == (~found.known).tolist()


@pytest.mark.parametrize("family", ["musicbert", "m2bert", "midibert"])
@pytest.mark.parametrize("level", ["sequence", "note"])
def test_the_same_numbers_in_any_batch(tmp_path, family, level):
    make(tmp_path / "model", family, level=level)
    model = load_tagger_model(tmp_path / "model", device="cpu")
    pieces = [score(k, 10 + 17 * k) for k in range(4)]
    together, alone = model.predict(pieces), [model.predict([piece], batch_rows=1)[0] for piece in pieces]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_other_kinds_of_answers(tmp_path, kind):
    tagger = make(tmp_path / "model", "m2bert", kind=kind, head="mean", window=100)
    (found,) = load_tagger_model(tmp_path / "model", device="cpu").predict([score(1)])
    layout = Layout("cp", cells=True)
    rows, _ = get_codec("cp").encode(score(1))
    with torch.inference_mode():
        logits = tagger(layout.collate([layout.tokens(rows, 0)]))[0]
    if kind == "multilabel":
        np.testing.assert_allclose(found.scores, logits.sigmoid(), rtol=1e-4)
        assert found.best == [n for n, v in zip(CLASSES, logits, strict=True) if v > 0]
    else:
        np.testing.assert_allclose(found.scores, 2 * logits, rtol=1e-4, atol=1e-6)
        assert list(found.best) == list(CLASSES)


def test_damage_is_one_clear_error(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(CheckpointError, match="not-found"):
        load_tagger_folder(tmp_path)
    make(folder, "musicbert")
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    settings = json.loads(good["tagger.json"])

    def changed(**values):
        return json.dumps({**settings, **values}).encode()

    for file, content, reason in (
        ("tagger.json", b"{", "unreadable"),
        ("model.safetensors", good["model.safetensors"][:-9], "unreadable"),
        ("tagger.json", b"{}", "bad-config"),
        ("tagger.json", changed(format_version=9), "bad-config"),
        ("tagger.json", changed(head={"outputs": 5, "head": "attention"}), "bad-config"),
        ("tagger.json", changed(head={"outputs": 3, "head": "nothing"}), "bad-config"),
        ("tagger.json", changed(architecture={**settings["architecture"], "width": 32}), "bad-config"),
    ):
        (folder / file).write_bytes(content)
        with pytest.raises(CheckpointError, match=reason):
            load_tagger_folder(folder)
        (folder / file).write_bytes(good[file])
    load_tagger_folder(folder)


def test_predict_uses_its_options_or_refuses_them(tmp_path, capsys):
    from mido import Message, MetaMessage, MidiFile, MidiTrack

    from musicbert.cli.main import main

    track = MidiTrack([MetaMessage("time_signature", numerator=3, denominator=128)])
    for pitch in range(60, 70):
        track += [Message("note_on", note=pitch, velocity=80), Message("note_off", note=pitch, time=120)]
    MidiFile(tracks=[track]).save(tmp_path / "metre.mid")
    for family in ("musicbert", "midibert"):
        make(tmp_path / family, family)
    octuples = ["predict", str(tmp_path / "metre.mid"), "--model", str(tmp_path / "musicbert")]
    assert main(octuples) == 2
    assert main([*octuples, "--unsupported-metre", "nearest"]) == 0
    exact = capsys.readouterr().out
    assert main([*octuples, "--unsupported-metre", "nearest", "--precision", "bfloat16"]) == 0
    assert capsys.readouterr().out not in ("", exact)
    for refused in (["--labels", "no.json"], ["--part", "test"], ["--split", "clean"], ["--heads", "no"]):
        assert main([*octuples, "--unsupported-metre", "nearest", *refused]) == 2
        assert capsys.readouterr().err
    words = ["predict", str(tmp_path / "metre.mid"), "--model", str(tmp_path / "midibert")]
    assert main(words) == 0
    assert main([*words, "--beyond-limit", "error"]) == 2
    assert "not used by the encoding cp" in capsys.readouterr().err
