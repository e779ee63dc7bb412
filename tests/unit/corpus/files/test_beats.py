"""Beats beside performances (ASAP), as inputs of a corpus."""

import json
import shutil
from contextlib import nullcontext

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.corpus.builder import BuildOptions, build_corpus, job
from musicbert.corpus.files.beats import aligned_beats
from musicbert.errors import DatasetError
from musicbert.midi import read_score


def annotate(path, times):
    marks = ["b", "db,4/4", "bR"]
    path.write_text("".join(f"{time}\t{time}\t{marks[k % 3]}\n" for k, time in enumerate(times)))


@pytest.fixture
def asap(make_midi_folder, tmp_path):
    folder = tmp_path / "asap"
    shutil.copytree(make_midi_folder(6), folder)
    for place in ("a", "b"):
        annotate(folder / place / "midi_score_annotations.txt", np.arange(0, 9) * 0.5)
        for midi in (folder / place).glob("*.mid"):
            annotate(midi.with_name(f"{midi.stem}_annotations.txt"), 0.25 + np.arange(0, 9))
    return folder


def test_beats_of_the_performance_and_of_the_score(asap):
    beats, score = aligned_beats(str(asap / "a" / "00000.mid"))
    assert (beats.tolist(), score.tolist()) == ([0.25 + k for k in range(9)], [k / 2 for k in range(9)])


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ([0, 1], "bad-beats"),
        ([0.0] * 9, "bad-beats"),
        ([*range(8), "x"], "bad-annotation"),
        (None, "bad-beats"),
    ],
)
def test_beats_that_are_not_aligned_are_refused(asap, times, reason):
    path = asap / "a" / "00000_annotations.txt"
    annotate(path, times) if times else path.unlink()
    with pytest.raises(DatasetError) as caught:
        aligned_beats(str(asap / "a" / "00000.mid"))
    assert caught.value.reason == reason


def test_a_corpus_holds_the_place_in_the_beat_of_each_note(asap, tmp_path):
    (asap / "b" / "00001_annotations.txt").unlink()
    words = ["build", str(asap), "-o", str(tmp_path / "bin"), "--shares", "60", "20", "20", "--quiet"]
    assert main([*words, "--score-input", "--max-failure-rate", "1"]) == 2  # not without --performance-input
    assert main([*words, "--performance-input", "--score-input", "--max-failure-rate", "1"]) == 0
    ledger = [json.loads(line) for line in (tmp_path / "bin" / "ledger.jsonl").read_text().splitlines()]
    assert {entry["path"]: entry["outcome"] for entry in ledger if entry["outcome"] != "ok"} == {
        "b/00001.mid": "bad-beats"
    }
    inputs = np.load(tmp_path / "bin" / "train.performance.npy")
    assert inputs.shape[1] == 18
    assert set(inputs[:, 17].tolist()) == {0.0, 1.0}
    known = inputs[inputs[:, 17] == 1]
    np.testing.assert_allclose(known[:, 16], np.log(2.0), atol=1e-6)
    first = read_score(asap / "a" / "00000.mid")
    assert float(first.seconds(first.onset[:1])[0]) > 0.25
    plain = tmp_path / "plain"
    assert main([*words[:2], "-o", str(plain), *words[4:], "--performance-input"]) == 0
    assert np.load(plain / "train.performance.npy").shape[1] == 15
    assert "score" not in json.loads((plain / "build.json").read_text())["options"]


@pytest.mark.parametrize("when", ["encoded", "finished"])
def test_a_build_that_goes_on_sees_that_beats_were_changed(asap, tmp_path, monkeypatch, when):
    options = BuildOptions(performance=True, score=True)
    added = asap / "b" / "00001_annotations.txt"
    added.unlink()
    with monkeypatch.context() as patch:
        if when == "encoded":
            patch.setattr(job, "_assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        else:
            patch.setattr(job, "_tidy", lambda _: None)
        with pytest.raises(KeyboardInterrupt) if when == "encoded" else nullcontext():
            build_corpus(asap, tmp_path / "bin", options, progress=False)
    changed = asap / "a" / "00000_annotations.txt"
    before = changed.read_text()
    for path, text in ((changed, before.replace("1.25", "1.26")), (added, before)):
        path.write_text(text)
        midi = path.name.replace("_annotations.txt", ".mid")
        with pytest.raises(DatasetError, match=rf"{midi} \(annotations beside it\) ") as caught:
            build_corpus(asap, tmp_path / "bin", options, progress=False)
        assert caught.value.reason == "source-changed"
        changed.write_text(before)
    added.unlink()
    assert build_corpus(asap, tmp_path / "bin", options, progress=False).outcomes == {"ok": 5, "bad-beats": 1}
