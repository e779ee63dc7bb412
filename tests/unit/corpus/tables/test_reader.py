"""Tables of labels: every form of table and label, what does not fit together, and what cannot be read."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.tables.kinds import as_labels, infer_kind
from musicbert.corpus.tables.reader import TableReader, read_label_table
from musicbert.errors import DatasetError
from musicbert.midi import Score, midi_bytes, read_score


def music(pitches, onsets=None):
    n = len(pitches)
    zeros = np.zeros(n, np.int64)
    onset = np.arange(n) * 480 if onsets is None else np.asarray(onsets)
    return midi_bytes(
        Score(
            ticks_per_beat=480,
            onset=onset,
            offset=onset + 240,
            pitch=np.asarray(pitches),
            velocity=zeros + 64,
            program=zeros,
            drum=zeros.astype(bool),
            track=zeros,
        )
    )


@pytest.fixture
def midi(tmp_path):
    folder = tmp_path / "midi"
    for name, pitches in {"a": [60, 62, 64], "sub/b": [72, 71], "sub/c": [50, 52, 53], "d": [40]}.items():
        path = folder / f"{name}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(music(pitches))
    return folder


def read(table, midi, **options):
    how = {name: options.pop(name) for name in ("order", "unit") if name in options}
    found = read_label_table(table, **options)
    with MidiSource(midi) as source:
        reader = TableReader(found, source, **how)
        offered = list(reader)
    pieces = {each.name: each for each in offered if isinstance(each, LabelledPiece)}
    skipped = {each.name: each.outcome for each in [*reader.outcomes, *offered] if each.name not in pieces}
    return found, pieces, skipped


def write(tmp_path, text, name="labels.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_names_of_classes_and_files_that_do_not_fit(midi, tmp_path):
    (midi / "e.mid").write_bytes(b"no music")
    table = write(
        tmp_path,
        "file,mood,group,split,weight\n"
        "a.mid,sad,g1,train,2\nsub/b,glad,g1,validation,\nc,,g2,test,1\ne,sad,g3,test,1\nmissing,sad,g,train,1\n",
    )
    found, pieces, skipped = read(table, midi)
    assert (found.level, found.labels.kind, found.labels.classes) == ("sequence", "classes", ("glad", "sad"))
    assert {name: piece.labels["label"] for name, piece in pieces.items()} == {"a.mid": 1, "sub/b": 0}
    assert [piece.labels["weight"] for piece in pieces.values()] == [2.0, 1.0]
    assert [piece.group for piece in pieces.values()] == ["g1", "g1"]
    assert [dict(piece.splits) for piece in pieces.values()] == [{"split": "train"}, {"split": "valid"}]
    assert skipped == {"missing": "no-midi", "d": "no-label", "c": "no-label", "e": "unreadable"}


def test_a_zip_is_read_like_a_folder(midi, tmp_path):
    archive = tmp_path / "midi.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(midi.rglob("*.mid")):
            file.write(path, path.relative_to(midi).as_posix())
    table = write(tmp_path, "path,label\na,x\nsub/b.mid,y\n")
    _, pieces, skipped = read(table, archive)
    assert set(pieces) == {"a", "sub/b.mid"}
    assert skipped == {"c": "no-label", "d": "no-label"}


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([["sad"], ["glad"], [""]], "classes"),
        ([["1"], ["2"], ["2"]], "classes"),
        ([[str(k)] for k in range(30)], "regression"),
        ([["0.5"], ["1"]], "regression"),
        ([["rock;pop"], ["jazz"]], "multilabel"),
        ([["rock|pop"], ["jazz"]], "multilabel"),
        ([[["rock", "pop"]], [[]]], "multilabel"),
        ([[[0.1, 0.2]], [[1, 2]]], "regression"),
        ([["0", "1"], ["1", "yes"]], "multilabel"),
        ([["0.5", "1"], ["1", "3"]], "regression"),
        ([[f"{number}_4"] for number in range(1, 40)], "classes"),
    ],
)
def test_kinds_are_inferred(rows, kind):
    assert infer_kind(rows)[0] == kind


@pytest.mark.parametrize(
    "rows", [[["a", "b"], ["c", "d"]], [[["a"]], ["b"]], [[""], [None]], [[float("nan")]]]
)
def test_what_cannot_be_inferred_is_an_error(rows):
    with pytest.raises(DatasetError, match="ambiguous-labels"):
        infer_kind(rows)


def test_labels_as_numbers():
    labels = as_labels([["10"], ["2"], [""]], ["x"])
    assert (labels.classes, labels.values) == (("2", "10"), [1, 0, -1])
    labels = as_labels([["a; b"], ["b"], [""], [[]]], ["x"], "multilabel")
    assert labels.classes == ("a", "b")
    np.testing.assert_array_equal(np.stack(labels.values), [[1, 1], [0, 1], [np.nan, np.nan], [0, 0]])
    labels = as_labels([["1", ""], ["2", "3"]], ["x", "y"], "regression")
    assert labels.classes == ("x", "y")
    np.testing.assert_array_equal(np.stack(labels.values), [[1, np.nan], [2, 3]])
    labels = as_labels([["no", "1"], ["true", ""]], ["x", "y"])
    np.testing.assert_array_equal(np.stack(labels.values), [[0, 1], [1, np.nan]])
    labels = as_labels([["b"], ["a"]], ["x"], classes=["b", "a"])
    assert labels.values == [0, 1]


@pytest.mark.parametrize(
    ("rows", "kind", "options"),
    [
        ([["x"]], "regression", {}),
        ([["inf"]], "regression", {}),
        ([["1_0"]], "regression", {}),
        ([["0", "2"]], "multilabel", {}),
        ([["c"]], "classes", {"classes": ["a", "b"]}),
        ([[[1, 2]], [[1]]], "regression", {}),
    ],
)
def test_wrong_labels_are_errors(rows, kind, options):
    with pytest.raises(DatasetError, match="bad-label"):
        as_labels(rows, ["x", "y"][: len(rows[0])], kind, **options)


def test_json_lines_and_parquet(midi, tmp_path):
    lines = [{"midi": "a", "tags": ["x", "y"]}, {"midi": "d", "tags": []}]
    table = write(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "labels.jsonl")
    found, pieces, _ = read(table, midi)
    assert found.labels.classes == ("x", "y")
    np.testing.assert_array_equal(pieces["d"].labels["label"], [0, 0])
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"file": ["a", "d"], "valence": [0.5, np.nan], "arousal": [1.0, 2.0]}).to_parquet(path)
    found, pieces, _ = read(path, midi)
    assert found.labels.kind == "regression"
    np.testing.assert_array_equal(pieces["d"].labels["label"], [np.nan, 2.0])


def test_a_list_of_labels_a_note(midi, tmp_path):
    lines = [
        {"file": "a", "label": ["m", "n", None]},
        {"file": "sub/b", "label": ["m"]},  # two notes
        {"file": "d", "label": [None]},
    ]
    table = write(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "notes.jsonl")
    found, pieces, skipped = read(table, midi, level="note")
    assert (found.level, found.labels.classes) == ("note", ("m", "n"))
    assert pieces["a"].labels["label"].tolist() == [0, 1, -1]
    assert skipped == {"sub/b": "wrong-length", "d": "no-label", "c": "no-label"}


def test_a_line_a_note_by_number(midi, tmp_path):
    table = write(tmp_path, "file,note,label\na,2,x\na,0,y\nsub/b,5,x\nd,0,y\n", "notes.csv")
    found, pieces, skipped = read(table, midi)
    assert found.level == "note"
    assert pieces["a"].labels["label"].tolist() == [1, -1, 0]
    assert skipped == {"sub/b": "wrong-length", "c": "no-label"}


@pytest.mark.parametrize(("unit", "onsets"), [("beats", (0, 2)), ("ticks", (0, 960)), ("seconds", (0, 1))])
def test_a_line_a_note_by_onset_and_pitch(midi, tmp_path, unit, onsets):
    text = f"file,onset,pitch,value\na,{onsets[1]},64,0.5\na,{onsets[0]},60,1.25\nd,{onsets[0]},41,1\n"
    _, pieces, skipped = read(write(tmp_path, text, "notes.csv"), midi, unit=unit)
    np.testing.assert_array_equal(pieces["a"].labels["label"], [1.25, np.nan, 0.5])
    assert skipped["d"] == "unmatched-note"


def test_a_note_that_is_not_as_the_table_says_stops_the_whole_table(midi, tmp_path):
    table = write(tmp_path, "file,note,pitch,label\nd,0,40,x\na,0,61,y\n", "notes.csv")
    with pytest.raises(
        DatasetError,
        match=r"a.mid: the table contradicts the music: row 2 .* pitch 61, note 0 .* pitch 60",
    ):
        read(table, midi)


def test_programs_may_be_read_by_channel(tmp_path):
    from mido import Message, MidiFile, MidiTrack

    notes = MidiTrack([Message("note_on", note=60, velocity=80), Message("note_off", note=60, time=480)])
    (tmp_path / "midi").mkdir()
    MidiFile(tracks=[MidiTrack([Message("program_change", program=40)]), notes]).save(
        tmp_path / "midi" / "a.mid"
    )
    table = read_label_table(write(tmp_path, "file,label\na,x\n"))
    with MidiSource(tmp_path / "midi") as source:
        for how, number in (("track", 0), ("channel", 40)):
            (piece,) = TableReader(table, source, channel_programs=how)
            assert (piece.notes.program.tolist(), piece.programs_elsewhere) == ([number], 1)
        report = write_shards([piece], "octuple", tmp_path / "shards", table.tasks(table.task()))
    assert report.outcomes[0].programs_elsewhere == 1


def test_notes_may_be_counted_by_onset_and_pitch(tmp_path):
    folder = tmp_path / "midi"
    folder.mkdir()
    (folder / "a.mid").write_bytes(music([70, 60, 65], [0, 0, 480]))
    stored = read_score(folder / "a.mid")
    line = json.dumps({"file": "a", "label": ["low", "high", "last"]})
    _, pieces, _ = read(write(tmp_path, line + "\n", "n.jsonl"), folder, level="note", order="sorted")
    named = {60: "low", 70: "high", 65: "last"}
    classes = ("high", "last", "low")
    assert [classes[k] for k in pieces["a"].labels["label"]] == [named[int(p)] for p in stored.pitch]


def test_equal_notes_are_labelled_one_after_the_other(tmp_path):
    folder = tmp_path / "midi"
    folder.mkdir()
    (folder / "a.mid").write_bytes(music([60, 62], [0, 480]))
    table = write(tmp_path, "file,onset,pitch,label\na,0,60,x\na,0,60,y\na,1,62,x\n", "notes.csv")
    _, pieces, skipped = read(table, folder)
    assert pieces == {}
    assert skipped == {"a": "unmatched-note"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.csv", "", "bad-table"),
        ("x.csv", "file,label\n", "bad-table"),
        ("x.ods", "?", "unknown-format"),
        ("x.xlsx", "?", "bad-table"),
        ("x.jsonl", "{", "bad-table"),
        ("x.csv", "music,label\na,1\n", "missing-column"),
        ("x.csv", "file\na\n", "missing-column"),
        ("x.csv", "file,label\na,x\na,y\n", "duplicate-label"),
        ("x.csv", "file,label,split\na,x,sometimes\n", "bad-split"),
        ("x.csv", "file,label,weight\na,x,-1\n", "bad-label"),
        ("x.csv", "file,label,weight\na,x,1_0\n", "bad-label"),
    ],
)
def test_bad_tables_are_one_clear_error(tmp_path, name, text, reason):
    with pytest.raises(DatasetError, match=reason) as caught:
        read_label_table(write(tmp_path, text, name))
    assert caught.value.path.endswith(name)


def test_no_file_for_any_label_is_an_error(midi, tmp_path):
    with pytest.raises(DatasetError, match="no-match"):
        read(write(tmp_path, "file,label\nq,x\n"), midi)


def test_a_name_that_two_files_have_is_in_the_ledger(midi, tmp_path):
    (midi / "b.mid").write_bytes(music([60]))
    _, pieces, skipped = read(write(tmp_path, "file,label\nx/b,1\nd,2\n"), midi)
    assert set(pieces) == {"d"}
    assert skipped["x/b"] == "ambiguous-name"
