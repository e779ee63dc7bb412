"""The end of the demo: what the shipped model and the demo's own say of one performance."""

import json
import sys
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from options.programs import load

import musicbert
from musicbert.cli.main import main
from musicbert.evaluation.baselines.committee_file import fit_rating_model
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.features import features
from musicbert.synthesis import make_set

NAME = "Made_No1_mv1_8bars_0_01"


@pytest.fixture(scope="module")
def scores():
    return list(make_set(3, performers=2, segments=2, movements=1).scores.values())


@pytest.fixture(scope="module")
def own(scores, tmp_path_factory):
    """A model that rates loudness."""
    loud = np.array([[score.velocity.mean() / 127] for score in scores])
    names = np.arange(len(scores)).astype(str)
    examples = Examples(
        label="ratings", kind="regression", classes=("Loudness",), target=loud, groups=names, ids=names,
        features=np.stack([features(score) for score in scores]),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("own") / "own.npz"
    fit_rating_model("committee", examples, error=np.array([0.05])).save(path)
    return path


@pytest.fixture
def ending(scores, own, tmp_path, monkeypatch, capsys):
    """Run the end of the demo on a score; return its folder and what it printed."""
    demo = load("scripts/demo.py")

    def run(command, **_):
        assert command[:3] == [sys.executable, "-m", "musicbert"]
        assert main(command[3:]) == 0

    def call(score):
        (tmp_path / "data").mkdir()
        score.save(tmp_path / "one.mid")
        with zipfile.ZipFile(tmp_path / "data" / "segment_midi.zip", "w") as archive:
            archive.write(tmp_path / "one.mid", f"segment_midi/{NAME}.mid")
        monkeypatch.setattr(demo.subprocess, "run", run)
        monkeypatch.setattr(musicbert, "explain", partial(musicbert.explain, factors=("tempo", "pedal")))
        demo._explain(tmp_path, NAME, own)
        return tmp_path / "reasons", " ".join(capsys.readouterr().out.split()), demo

    return call


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_performance_with_a_profile_has_reasons_and_two_pictures(ending, scores):
    folder, printed, demo = ending(scores[0])
    assert files(folder) == [f"{NAME}.mid", "explanation.json", "own-model.png", "shipped-model.png"]
    why = json.loads((folder / "explanation.json").read_text())["dimensions"]
    assert len(why) == 19
    assert all(" ".join(words.split()) in printed for each in why.values() for words in each["words"])
    assert "Loudness" in printed
    assert printed.endswith(" ".join([demo.WITH_PROFILE, *demo.OWN_MODEL]))


def test_music_without_a_profile_ends_in_the_reasons(ending, scores):
    step = scores[0].ticks_per_beat // 4
    onset = scores[0].onset // step * step
    written = replace(scores[0], onset=onset, offset=np.maximum(scores[0].offset, onset + step))
    folder, printed, demo = ending(written)
    assert files(folder) == [f"{NAME}.mid", "own-model.png"]
    reasons = musicbert.analyse(folder / f"{NAME}.mid", layers=False).reasons
    assert reasons
    assert all(reason.text in printed for reason in reasons)
    assert printed.endswith(" ".join([demo.NO_PROFILE, *demo.OWN_MODEL]))
