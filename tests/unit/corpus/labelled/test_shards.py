"""Labelled shards: round trip, labels joined by note, ledger, going on after a kill, damaged files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from musicbert.corpus.files.ledger import Outcome, read_ledger
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.labelled.shards import Shards
from musicbert.encoding import encode_notes
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError
from musicbert.features import features
from musicbert.midi import Score
from musicbert.reuse import made_from

NOTE = Task("parity", "parity", "note", "classes", ("even", "odd"), "accuracy")
LOUD = Task("loud", "loud", "note", "regression", ("velocity",), "r2")
MOOD = Task("mood", "mood", "sequence", "classes", ("sad", "glad"), "accuracy")
TAGS = Task("tags", "tags", "sequence", "multilabel", ("a", "b", "c"), "micro_f1")

MADE = made_from({"--codec": "octuple"}, {"a.mid": "0"})


def score(seed, notes=20):
    rng = np.random.default_rng(seed)
    zeros = np.zeros(notes, np.int64)
    onset = rng.integers(0, 16, notes) * 240  # in no order
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(40, 90, notes),
        velocity=rng.integers(4, 128, notes),
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


def piece(seed, notes=20, **changes):
    music = score(seed, notes)
    values = {
        "name": f"p{seed}",
        "notes": music,
        "group": f"g{seed // 2}",
        "labels": {
            "parity": music.pitch % 2,
            "loud": music.velocity / 127,
            "mood": seed % 2,
            "tags": [1, np.nan, 0],
        },
        "splits": {"published": "train" if seed else "test"},
        "source": f"p{seed}.mid",
    }
    return LabelledPiece(**{**values, **changes})


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_and_labels_come_back_note_by_note(tmp_path):
    made = [piece(k, 10 + k) for k in range(4)]
    report = write_shards(
        made, "octuple", tmp_path / "set", [NOTE, LOUD, MOOD, TAGS], performance=True, with_features=True
    )
    shards = report.shards
    assert not report.skipped
    assert shards.names == ("p0", "p1", "p2", "p3")
    assert shards.groups["p3"] == "g1"
    assert shards.split("published") == {"p0": "test", "p1": "train", "p2": "train", "p3": "train"}
    for k, each in enumerate(made):
        rows, index = encode_notes(each.notes)
        np.testing.assert_array_equal(shards.rows(k), rows)
        np.testing.assert_array_equal(shards.note_index(k), index)
        # the label follows its note: the pitch column says what it has to be
        np.testing.assert_array_equal(shards.note_labels("parity", k), rows[:, 3] % 2)
        np.testing.assert_allclose(
            shards.note_labels("loud", k)[:, 0], each.notes.velocity[index] / 127, rtol=1e-6
        )
        assert shards.performance(k).shape == (len(rows), shards.performance_width)
        np.testing.assert_allclose(shards.features()[k], features(each.notes), rtol=1e-6)
    np.testing.assert_array_equal(shards.label("mood"), [0, 1, 0, 1])
    np.testing.assert_array_equal(shards.label("tags"), [[1, np.nan, 0]] * 4)


def test_notes_in_beats_are_encoded_too(tmp_path):
    onset = np.array([1.0, 0.0, 2.5])
    notes = BeatNotes(onset, onset + 0.5, np.array([60, 62, 64]), np.full(3, 64))
    given = LabelledPiece("b", notes, "b", {"parity": [0, 1, 0]})
    shards = write_shards([given], "octuple", tmp_path / "set", [NOTE]).shards
    np.testing.assert_array_equal(shards.rows(0)[:, 3], [62, 60, 64])
    np.testing.assert_array_equal(shards.note_labels("parity", 0), [1, 0, 0])


def test_what_cannot_be_used_is_in_the_ledger_and_the_others_go_on(tmp_path):
    good = piece(0)
    made = [
        good,
        Outcome("x", "unreadable", path="x.mid"),
        piece(1, labels={"parity": [0, 1]}),
        piece(2, labels={"parity": np.full(20, 2)}),
        piece(3, labels={"mood": "glad"}),
        piece(4, labels={"tags": [0, 2, 0]}),
        piece(5, notes=0),
        good,
        piece(6, labels={}),
    ]
    report = write_shards(
        made, "octuple", tmp_path / "set", [NOTE, MOOD, TAGS], outcomes=[Outcome("y", "no-midi")]
    )
    outcomes = [(each.name, each.outcome) for each in read_ledger(tmp_path / "set" / "ledger.jsonl")]
    assert outcomes == [
        ("p0", "ok"),
        ("x", "unreadable"),
        ("p1", "wrong-length"),
        ("p2", "bad-label"),
        ("p3", "bad-label"),
        ("p4", "bad-label"),
        ("p5", "no-notes"),
        ("p0", "duplicate-name"),
        ("p6", "ok"),
        ("y", "no-midi"),
    ]
    assert [each.name for each in report.skipped] == [name for name, what in outcomes if what != "ok"]
    shards = report.shards
    assert len(shards) == 2
    assert (shards.note_labels("parity", 1) == -1).all()
    assert shards.label("mood").tolist() == [0, -1]
    assert np.isnan(shards.label("tags")[1]).all()


def test_nothing_usable_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no-pieces"):
        write_shards([piece(0, notes=0)], "octuple", tmp_path / "set", [MOOD])
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, cut):
    made = [piece(k) for k in range(5)]
    made.insert(2, Outcome("x", "unreadable"))
    write_shards(made, "octuple", tmp_path / "whole", [NOTE, TAGS], performance=True, made_from=MADE)
    seen = []

    def reader(stop):
        for k, each in enumerate(made):
            if k == stop:
                raise KeyboardInterrupt
            seen.append(each.name)
            yield each

    with pytest.raises(KeyboardInterrupt):
        write_shards(reader(cut), "octuple", tmp_path / "cut", [NOTE, TAGS], performance=True, made_from=MADE)
    partial = tmp_path / ".cut.partial"
    with (partial / "rows.bin").open("ab") as file:  # half a piece that no line of the journal knows
        file.write(b"half")
    with (partial / "journal.jsonl").open("ab") as file:
        file.write(b'{"outcome": "ok", "pie')
    write_shards(reader(None), "octuple", tmp_path / "cut", [NOTE, TAGS], performance=True, made_from=MADE)
    assert snapshot(tmp_path / "cut") == snapshot(tmp_path / "whole")


def test_what_is_made_from_something_else_is_no_continuation(tmp_path):
    def reader(first):
        yield piece(first)
        raise KeyboardInterrupt

    def cut():
        with pytest.raises(KeyboardInterrupt):
            write_shards(reader(0), "octuple", tmp_path / "set", [NOTE], made_from=MADE)

    cut()
    with pytest.raises(DatasetError, match="other-pieces"):  # the reader does not keep to its record
        write_shards([piece(1)], "octuple", tmp_path / "set", [NOTE], made_from=MADE)
    for tasks, record in (
        ([MOOD], MADE),
        ([NOTE], made_from({"--codec": "octuple"}, {"a.mid": "1"})),
        ([NOTE], None),
    ):
        cut()
        shards = write_shards([piece(1)], "octuple", tmp_path / "set", tasks, made_from=record).shards
        assert shards.names == ("p1",)  # it began anew
        shutil.rmtree(tmp_path / "set")


KILLED = """
import sys, time
sys.path.insert(0, {here!r})
from test_shards import MADE, NOTE, piece
from musicbert.corpus.labelled.shard_writer import write_shards
def slow():
    for k in range(6):
        yield piece(k)
        print(k, flush=True)
        time.sleep(0.05 if {wait} else 0)
write_shards(slow(), "octuple", {out!r}, [NOTE], made_from=MADE)
"""


def test_a_killed_process_is_taken_up_again(tmp_path, root):
    here = str(root / "tests" / "unit" / "corpus" / "labelled")
    code = KILLED.format(here=here, out=str(tmp_path / "set"), wait=True)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as child:
        child.stdout.readline()
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    for _ in range(100):
        if (tmp_path / ".set.partial").is_dir():
            break
        time.sleep(0.05)
    assert not (tmp_path / "set").exists()
    for name in ("set", "whole"):
        write_shards([piece(k) for k in range(6)], "octuple", tmp_path / name, [NOTE], made_from=MADE)
    assert snapshot(tmp_path / "set") == snapshot(tmp_path / "whole")


def test_a_set_that_is_there_is_replaced_only_when_asked(tmp_path):
    write_shards([piece(0)], "octuple", tmp_path / "set", [NOTE])
    with pytest.raises(DatasetError, match="output-exists"):
        write_shards([piece(1)], "octuple", tmp_path / "set", [NOTE])
    shards = write_shards([piece(1)], "octuple", tmp_path / "set", [NOTE], overwrite=True).shards
    assert shards.names == ("p1",)
    assert {path.name for path in tmp_path.iterdir()} == {"set"}


def test_what_a_killed_run_moved_aside_is_in_nobodys_way(tmp_path):
    write_shards([piece(0)], "octuple", tmp_path / "set", [NOTE])
    shutil.copytree(tmp_path / "set", tmp_path / ".set.old")
    shards = write_shards([piece(1)], "octuple", tmp_path / "set", [NOTE], overwrite=True).shards
    assert shards.names == ("p1",)
    assert {path.name for path in tmp_path.iterdir()} == {"set"}


def test_damaged_sets_are_one_clear_error(tmp_path):
    folder = tmp_path / "set"
    write_shards([piece(0), piece(1)], "octuple", folder, [NOTE])
    good = snapshot(folder)
    with pytest.raises(DatasetError, match="not-found"):
        Shards(tmp_path)
    for file, content, reason in (
        ("manifest.json", b"{", "not-shards"),
        ("manifest.json", b"[]", "not-shards"),
        ("manifest.json", json.dumps({"format": "musicbert-shards"}).encode(), "not-shards"),
        ("manifest.json", json.dumps({"format": "musicbert-shards", "version": 9}).encode(), "newer-format"),
        ("rows.bin", good["rows.bin"][:-1], "wrong-length"),
        ("offsets.npy", good["offsets.npy"][:40], "not-shards"),
    ):
        (folder / file).write_bytes(content)
        with pytest.raises(DatasetError, match=reason):
            Shards(folder)
        (folder / file).write_bytes(good[file])
    (folder / "label0.bin").unlink()
    with pytest.raises(DatasetError, match="wrong-length"):
        Shards(folder).label("parity")
    with pytest.raises(DatasetError, match="unknown-label"):
        Shards(folder).label("mood")
