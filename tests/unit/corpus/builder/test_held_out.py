"""Music that a corpus must not hold: left out, named in the ledger, and part of what a build is made from."""

import json

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.corpus.builder import BuildOptions, build_corpus
from musicbert.corpus.builder.held_out import fingerprints_of
from musicbert.corpus.files.ledger import read_ledger
from musicbert.errors import DatasetError
from musicbert.midi import midi_bytes
from musicbert.midi.score import piano_score


def tune(seed, transposed=0, notes=200):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(120, 960, notes))
    pitch = rng.integers(45, 80, notes) + transposed
    return midi_bytes(piano_score(onset, onset + 100, pitch, np.full(notes, 64)))


@pytest.fixture
def places(tmp_path):
    """Five tunes, the second and the fourth of which are tested in other keys."""
    for folder in ("midi", "tests"):
        (tmp_path / folder).mkdir()
    for seed in range(5):
        (tmp_path / "midi" / f"{seed}.mid").write_bytes(tune(seed))
    for seed in (1, 3):
        (tmp_path / "tests" / f"piece{seed}.mid").write_bytes(tune(seed, transposed=3))
    return tmp_path


def build(places, *tests, **settings):
    options = BuildOptions(exclude_music=tuple(map(str, tests)), shares=(1, 0, 0))
    return build_corpus(places / "midi", places / "out", options, progress=False, **settings)


@pytest.mark.parametrize("workers", [1, 2])
def test_test_music_is_left_out_and_named(places, workers):
    report = build(places, places / "tests", workers=workers)
    assert report.outcomes == {"ok": 3, "test-music": 2}
    assert report.failure_rate == 0
    left_out = {
        each.path: each.detail for each in read_ledger(places / "out" / "ledger.jsonl") if not each.ok
    }
    assert left_out["1.mid"].startswith("piece1.mid (")
    assert set(left_out) == {"1.mid", "3.mid"}
    assert "windows of nine notes, 100%" in left_out["3.mid"]


def test_a_list_of_fingerprints_leaves_out_the_same(places, capsys):
    target = places / "tests.npz"
    assert main(["data", "fingerprints", f"mine={places / 'tests'}", "--output", str(target), "--quiet"]) == 0
    assert "2 pieces" in capsys.readouterr().out
    command = ["build", str(places / "midi"), "--output", str(places / "out"), "--exclude-music", str(target)]
    assert main([*command, "--quiet", "--shares", "1", "0", "0"]) == 0
    assert "2 test-music" in capsys.readouterr().out
    assert json.loads((places / "out" / "build.json").read_text())["options"]["exclude_music"] == [
        str(target)
    ]
    again, unread = fingerprints_of([str(target), f"more={places / 'midi'}"])
    assert len(again) == 7
    assert again.names[0] == "mine/piece1.mid"
    assert unread == []


def test_a_build_goes_on_only_with_the_same_tests(places, monkeypatch):
    from musicbert.corpus.builder import job

    monkeypatch.setattr(job, "_assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(places, places / "tests")
    monkeypatch.undo()
    (places / "tests" / "piece4.mid").write_bytes(tune(4))
    with pytest.raises(DatasetError, match="other-run"):
        build(places, places / "tests")
    report = build(places, places / "tests", restart=True)
    assert report.outcomes == {"test-music": 3, "ok": 2}


def test_tests_that_cannot_be_read_stop_the_build(places):
    (places / "tests" / "broken.mid").write_bytes(b"MThd nonsense")
    with pytest.raises(DatasetError, match="unread-tests"):
        build(places, places / "tests")
    empty = places / "empty"
    empty.mkdir()
    for tests, reason in (
        (empty, "no-music"),
        (places / "missing", "not-found"),
        (places / "x.npz", "not-found"),
    ):
        with pytest.raises(DatasetError, match=reason):
            build(places, tests)
    assert not (places / "out").exists()


def test_all_files_may_be_left_out(places):
    with pytest.raises(DatasetError, match="nothing-to-write"):
        build(places, places / "midi")


def test_pieces_of_a_data_set_that_are_in_no_training_part(tmp_path):
    from musicbert.corpus.readers.benchmark import held_out_fingerprints

    for seed, part in enumerate(("train", "valid", "test")):
        folder = tmp_path / "pop909_processed" / part
        folder.mkdir(parents=True)
        (folder / f"00{seed}.mid").write_bytes(tune(seed))
    pieces, failed = held_out_fingerprints("pop909", tmp_path)
    assert failed == []
    assert sorted(pieces) == ["pop909/test/002", "pop909/valid/001"]
