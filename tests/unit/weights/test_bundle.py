"""The form of the music that a checkpoint was trained on: found, kept, refused where it is another."""

import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.encoding import PERFORMANCE_INPUTS, SCORE_INPUTS
from musicbert.errors import CheckpointError, MidiError
from musicbert.model import MusicBert
from musicbert.predict.pieces import read_piece
from musicbert.weights import (
    Bundle,
    Checkpoint,
    check_view,
    fit_weights,
    load_checkpoint,
    read_bundle,
    save_fairseq,
    save_folder,
    view_of,
)

SMALL = ModelConfig(layers=1, width=16, ffn_width=32, heads=2, max_positions=64)


@pytest.mark.parametrize(
    ("task", "own", "view"),
    [
        ({"_name": "octuple_masked_lm", "encoding": "cp"}, {}, "cp"),
        ({"_name": "octuple_sentence_prediction", "encoding": "octuple"}, {}, "octuple"),
        ({"_name": "sentence_prediction_multilabel", "encoding": "remi"}, {}, "remi"),
        ({"_name": "music_pretrain", "encoding": "cp"}, {}, None),  # compound words of M2BERT
        ({"task": "masked_lm"}, {}, None),
        ({"encoding": "something"}, {}, None),
        ({}, {"model_type": "musicbert", "view": "remi"}, "remi"),
        ({}, {"model_type": "musicbert"}, "octuple"),
        ({}, {"model_type": "m2bert", "encoding": "cp"}, None),
    ],
)
def test_what_a_checkpoint_says(task, own, view):
    checkpoint = Checkpoint({}, task=task, folder_settings=own)
    assert view_of(checkpoint) == view
    for asked in ("octuple", "cp", "remi"):
        if view in (None, asked):
            check_view(checkpoint, asked)
        else:
            with pytest.raises(CheckpointError, match=f"other-encoding.*--encoding {view}"):
                check_view(checkpoint, asked, path="x.pt")


@pytest.mark.parametrize("view", ["octuple", "cp", "remi"])
def test_conversions_keep_it(tmp_path, view):
    model = MusicBert(SMALL.with_(fields=1 if view == "remi" else 8))
    file = tmp_path / "one.pt"
    cfg = {"model": {"encoder_attention_heads": 2}, "task": {"_name": "octuple_masked_lm", "encoding": view}}
    torch.save({"model": model.state_dict(), "cfg": cfg}, file)
    bundle = read_bundle(file)
    assert bundle.view == view
    assert ("view" in bundle.settings()) == (view != "octuple")
    save_folder(bundle, tmp_path / "folder")
    save_fairseq(bundle, tmp_path / "two.pt")
    for path in (tmp_path / "folder", tmp_path / "two.pt"):
        assert read_bundle(path).view == view_of(load_checkpoint(path)) == view


def test_the_number_of_fields_tells_too():
    one, eight = (MusicBert(SMALL.with_(fields=fields)) for fields in (1, 8))
    with pytest.raises(CheckpointError, match=r"fields 8 \(not 1\).*--encoding \(remi: 1 field"):
        fit_weights(eight.state_dict(), one)


@pytest.mark.parametrize(
    ("count", "names"),
    [(0, None), (15, PERFORMANCE_INPUTS), (18, PERFORMANCE_INPUTS + SCORE_INPUTS), (4, None)],
)
def test_the_settings_name_the_performance_inputs(count, names):
    config = ModelConfig(layers=1, width=8, ffn_width=8, heads=2, performance_features=count)
    assert Bundle(config, {}).settings().get("performance_inputs") == (list(names) if names else None)


def test_music_without_its_score_is_refused_where_the_model_has_inputs_of_it(fixtures):
    score = fixtures / "musicbert" / "s14_late_first_time_signature.mid"
    with pytest.raises(MidiError) as caught:
        read_piece(score, performance=18)
    assert caught.value.reason == "other-inputs"
    assert "data-bin" in caught.value.hint
