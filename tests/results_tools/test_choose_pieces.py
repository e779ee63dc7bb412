"""Which pieces may be pre-trained on: licences, parts of tasks, music of test pieces."""

import json

import numpy as np
import pytest
from choose_pieces import COMMERCIAL, LICENSED, choice_text, choose, main

from musicbert.corpus.splits.fingerprints import Fingerprints, fingerprint
from musicbert.errors import DatasetError
from musicbert.midi import read_score, write_midi
from musicbert.midi.score import piano_score

HEADER = "file,subset,licence,downstream_split\n"
ROWS = (
    *("pop909/001.mid,pop909,MIT,train", "pop909/002.mid,pop909,MIT,test", "pop1k7/1.mid,pop1k7,none,"),
    *("giantmidi/Schubert.mid,giantmidi,CC BY 4.0,", "lmd/5/507cd001d935.mid,lmd,CC BY 4.0,"),
    "asap/Bach/Fugue/bwv_846/score.mid,asap,CC BY-NC-SA 4.0,",
)


def tune(path, seed, transposed=0):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(120, 960, 100))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_midi(
        piano_score(onset, onset + 100, rng.integers(45, 80, 100) + transposed, np.full(100, 64)), path
    )


@pytest.fixture
def places(tmp_path):
    """A collection, a whole ASAP, rolls, and fingerprints of tests that three files hold in other keys."""
    collection = tmp_path / "collection"
    for seed, row in enumerate(ROWS):
        tune(collection / row.split(",")[0], seed)
    (collection / "manifest.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    tune(tmp_path / "asap/Chopin/Ballades/1/A01.mid", 20)
    tune(tmp_path / "asap/Chopin/Ballades/2/A01.mid", 21)
    tune(tmp_path / "rolls/pianolatron/midi/exp/a_exp.mid", 30)
    tune(tmp_path / "rolls/vienna4x22/midi/b.mid", 31)
    tests = {}
    for name, seed in (("beats/test/1", 3), ("beats/valid/2", 20), ("ratings/c.mid", 30)):
        tune(tmp_path / "test.mid", seed, transposed=4)
        tests[name] = fingerprint(read_score(tmp_path / "test.mid"))
    return tmp_path, Fingerprints(tests)


def test_each_file_is_taken_or_has_a_reason(places):
    folder, tests = places
    reasons = {each.name: each.reason for each in choose(folder / "collection", tests=tests)}
    assert reasons.pop("giantmidi/Schubert.mid").startswith("test music: beats/test/1 (")
    assert reasons == {
        "pop909/001.mid": None,
        "pop909/002.mid": "test part of a task",
        "pop1k7/1.mid": "licence: none",
        "lmd/5/507cd001d935.mid": None,
        "asap/Bach/Fugue/bwv_846/score.mid": None,
    }


def test_other_folders_are_compared_with_the_same_tests(places):
    folder, tests = places
    choices = list(choose(folder / "collection", folder / "asap", folder / "rolls", tests))
    taken = {each.name for each in choices if each.reason is None}
    assert {name for name in taken if not name.startswith(("pop909", "lmd"))} == {
        "asap/Chopin/Ballades/2/A01.mid",
        "vienna4x22/b.mid",
    }
    text = choice_text(choices, tests)
    assert "| asap | CC BY-NC-SA 4.0 (non-commercial) | 1 | 100 | 1 |" in text
    assert "By the test that they match best: beats 2, ratings 1." in text
    assert "| `pianolatron/a_exp.mid` | ratings/c.mid (" in text
    assert "**Nothing was compared" in choice_text(choices, None)


def test_only_what_allows_commercial_use(places, monkeypatch, capsys):
    folder, tests = places
    tests.save(folder / "tests.npz")
    words = ["choose_pieces", folder / "collection", "--asap", folder / "asap", "--rolls", folder / "rolls"]
    words += ["--commercial", "--tests", folder / "tests.npz", "--output", folder / "out"]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    assert main() == 0
    assert "| all | | 2 | 200 | 2 |" in capsys.readouterr().out
    lines = [json.loads(line) for line in (folder / "out/choice.jsonl").read_text().splitlines()]
    taken = sorted(line["file"] for line in lines if line["reason"] is None)
    assert taken == ["pop909/001.mid", "vienna4x22/b.mid"]
    assert sorted(p.relative_to(folder / "out").as_posix() for p in (folder / "out").rglob("*.mid")) == taken
    assert not any("non-commercial" in LICENSED[name] or name == "lmd" for name in COMMERCIAL)


def test_bad_collections_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        list(choose(tmp_path))
    (tmp_path / "manifest.csv").write_text("file,subset\n")
    with pytest.raises(DatasetError, match="wrong-columns"):
        list(choose(tmp_path))
