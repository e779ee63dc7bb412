"""An M2BERT used on music: pieces of any length, levels, layers, and the command line."""

import numpy as np
import pytest
import torch

import musicbert
from musicbert.cli.main import main
from musicbert.config import M2BertConfig
from musicbert.encoding.codecs import get_codec
from musicbert.errors import MidiError
from musicbert.midi import read_score
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.objectives.note_fields import CP, OCTUPLE
from musicbert.predict import M2BertModel
from musicbert.weights import Bundle, save_folder

TINY = M2BertConfig(layers=2, width=64, ffn_width=24, heads=1, embedding_width=8)


def made(folder, config=TINY):
    torch.manual_seed(0)
    return save_folder(Bundle(config, M2Bert(config).state_dict()), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made(tmp_path_factory.mktemp("model") / "m2bert")


@pytest.fixture(scope="module")
def model(folder):
    return musicbert.from_pretrained(folder, device="cpu")


def piece(count, fields=CP, seed=0):
    return np.random.default_rng(seed).integers(0, fields.values, (count, len(fields)))


def test_short_pieces_are_what_the_network_says(model):
    assert isinstance(model, M2BertModel)
    rows = piece(50)
    with torch.inference_mode():
        wanted, extra = model.module(
            torch.from_numpy(rows)[None], features_only=True, return_all_hiddens=True
        )
    notes = model.embed(rows, level="note")
    assert notes.shape == (50, 64)
    assert notes.dtype == np.float32
    np.testing.assert_allclose(notes, wanted[0].numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.embed(rows), notes.mean(0), rtol=1e-4, atol=1e-5)
    first = model.embed(rows, level="note", layer=0)
    np.testing.assert_allclose(first, extra["inner_states"][0][0].numpy(), rtol=1e-5, atol=1e-5)
    bars = CP.bars(rows)
    by_bar = model.embed(rows, level="bar")
    assert len(by_bar) == bars[-1] + 1
    np.testing.assert_allclose(by_bar[3], notes[bars == 3].mean(0), rtol=1e-4, atol=1e-5)


def test_long_pieces_and_lists(model):
    pieces = [piece(2500), piece(30, seed=1), piece(1024, seed=2), piece(30, seed=3)]
    together = model.embed(pieces, level="note")
    assert [len(found) for found in together] == [2500, 30, 1024, 30]
    for rows, found in zip(pieces, together, strict=True):
        np.testing.assert_allclose(model.embed(rows, level="note"), found, rtol=1e-4, atol=1e-5)
    # notes that lie in one window only are those of the window
    alone = model.embed(pieces[0][:1024], level="note")
    np.testing.assert_allclose(together[0][:700], alone[:700], rtol=1e-4, atol=1e-4)


def test_octuples_of_many_bars(tmp_path):
    config = TINY.with_(field_sizes=OCTUPLE.sizes, field_pads=OCTUPLE.pads, roll_outputs=0)
    model = musicbert.from_pretrained(made(tmp_path / "octuple", config), device="cpu")
    rows = piece(900, OCTUPLE)
    rows[:, 0] = np.arange(900)  # more bars than there are ids
    found = model.embed(rows, level="note")
    assert found.shape == (900, 64)
    assert np.isfinite(found).all()
    moved = rows[:256].copy()  # the first window
    np.testing.assert_allclose(found[:100], model.embed(moved, level="note")[:100], rtol=1e-4, atol=1e-4)


def test_music_and_the_command_line(folder, model, make_midi_folder, tmp_path, capsys):
    midi = make_midi_folder(3, seed=5)
    path = next(midi.rglob("*.mid"))
    rows, _ = get_codec("cp").encode(read_score(path))
    assert np.array_equal(model.rows(path), rows)
    assert np.array_equal(model.rows(path.read_bytes()), rows)
    out = tmp_path / "out.npz"
    words = ["embed", str(midi), "--model", str(folder), "--device", "cpu", "--output", str(out)]
    assert main([*words, "--level", "note"]) == 0
    table = np.load(out)
    number = list(table["ids"]).index(str(path))
    first, last = table["offsets"][number : number + 2]
    np.testing.assert_allclose(
        table["embedding"][first:last], model.embed(path, level="note"), rtol=1e-4, atol=1e-5
    )
    assert np.array_equal(table["bar"][first:last], CP.bars(rows))
    capsys.readouterr()
    assert main(["predict", str(path), "--model", str(folder)]) == 2
    assert "[other-model]" in capsys.readouterr().err


def test_saved_again(model, tmp_path):
    model.save(tmp_path / "copy")
    other = musicbert.from_pretrained(tmp_path / "copy", device="cpu")
    assert np.array_equal(other.embed(piece(20)), model.embed(piece(20)))
    assert "cp, layers=2, width=64" in repr(other)


def test_what_cannot_be_used(model):
    for rows in (piece(3) + 90, piece(3)[:, :3], piece(3).astype(float), piece(0)):
        with pytest.raises(MidiError):
            model.embed(rows)
    with pytest.raises(ValueError, match="level"):
        model.embed(piece(3), level="song")
    with pytest.raises(ValueError, match="layer"):
        model.embed(piece(3), layer=3)
    with pytest.raises(ValueError, match="precision"):
        M2BertModel(model._bundle, precision="half")
