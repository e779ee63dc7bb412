"""``gen_xai.py``: label map and MIDI files in, the raw rating data set out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from musicbert.annotation.folds import PARTS
from musicbert.annotation.names import content_groups
from musicbert.corpus.bins.databin import fold_folders
from musicbert.corpus.files.ledger import count, read_ledger
from musicbert.corpus.labelled.rating_rawset import check_fold, read_part
from musicbert.encoding import PERFORMANCE_INPUTS, line_to_rows


@pytest.fixture
def run(gen_xai, made_set, monkeypatch, capsys):
    """Run the command on the made set; return its status, last line printed and errors."""

    def run(*arguments, labels="labels.json", midi="midi"):
        files = [*(("--labels", labels) if labels else ()), *(("--midi", midi) if midi else ())]
        status = gen_xai([*map(str, files), *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.strip().rpartition("\n")[2], printed.err

    monkeypatch.chdir(made_set)
    return run


def tree(folder):
    files = (each for each in folder.rglob("*") if each.is_file())
    return {str(each.relative_to(folder)): sha256(each.read_bytes()).hexdigest() for each in files}


def zip_of(path, folder, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir(), reverse=True):
            archive.write(file, prefix + file.name)


def test_files_agree_and_every_file_is_accounted_for(run, made_set):
    status, last, errors = run("--output", "raw")
    assert (status, errors) == (0, "")
    assert last == (
        "36 written (24 train, 4 valid, 8 test), 1 labelled without MIDI, 1 MIDI without label, "
        "0 unreadable of 37 MIDI files"
    )
    (fold,) = fold_folders(made_set / "raw", marker="dict.txt").values()
    parts = check_fold(fold)
    assert {name: len(part.ids) for name, part in parts.items()} == {"train": 24, "valid": 4, "test": 8}
    ledger = read_ledger(made_set / "raw" / "ledger.jsonl")
    assert count(ledger) == {"ok": 36, "no-label": 1, "no-midi": 1}
    notes = {part: read_part(fold, part).notes.sum() for part in PARTS}
    assert sum(notes.values()) == sum(each.notes_written or 0 for each in ledger)


def test_labels_are_those_of_the_map_and_missing_ones_are_null(run, made_set):
    run("--output", "raw")
    labels = json.loads((made_set / "labels.json").read_text())
    for part in PARTS:
        ids = (made_set / "raw" / "0" / f"{part}.id").read_text().split()
        lines = (made_set / "raw" / "0" / f"{part}.label").read_text().split("\n")[:-1]
        assert [json.loads(line) for line in lines] == [labels[name] for name in ids]
    assert any("null" in line for line in (made_set / "raw" / "0" / "train.label").read_text().split("\n"))


def test_class_file_names_everything(run, made_set):
    run("--output", "raw", "--performance-input", "--seed", 3)
    classes = json.loads((made_set / "raw" / "0" / "classes.json").read_text())
    assert classes["classes"] == ["Score", "1", "2", "12"]
    assert [set(each) for each in classes["dimensions"]] == [{"name", "low", "high", "column"}] * 3
    assert classes["performance_inputs"] == list(PERFORMANCE_INPUTS)
    assert (classes["split"], classes["seed"], classes["valid"], classes["fold"]) == (
        "segment",
        3,
        "groups",
        0,
    )
    labels = (made_set / "labels.json").read_bytes()
    assert classes["provenance"]["labels"] == {"name": "labels.json", "sha256": sha256(labels).hexdigest()}
    assert str(made_set) not in json.dumps(classes)


def test_segment_split_is_the_published_one(run, made_set):
    run("--output", "two", "--valid", "none")
    fold = made_set / "two" / "0"
    assert not (fold / "valid.txt").exists()
    test = (fold / "test.id").read_text().split()
    assert {name.split("_", 2)[2] for name in test} == {
        f"{music}_{performer}_{number}"
        for music, number in (("mv2_8bars", "13"), ("mv3_8bars", "05"))
        for performer in ("Score", "1", "2", "12")
    }


def test_validation_shares_no_group_with_training_or_test(run, made_set):
    run("--output", "k", "--split", "k-fold", "--folds", 3)
    tested = []
    for fold in fold_folders(made_set / "k", marker="dict.txt").values():
        ids = {part: (fold / f"{part}.id").read_text().split() for part in PARTS}
        groups = content_groups(name for names in ids.values() for name in names)
        sets = {part: {groups[name] for name in names} for part, names in ids.items()}
        assert not sets["train"] & sets["test"]
        assert not sets["valid"] & (sets["train"] | sets["test"])
        tested += ids["test"]
    assert len(tested) == len(set(tested)) == 36


def test_split_that_leaves_segments_out_says_so(run, made_set):
    status, last, _ = run("--output", "clean", "--split", "segment-clean", "--valid", "none")
    assert status == 0
    assert last.startswith("32 written (24 train, 8 test), 4 left out by the split, ")
    ledger = read_ledger(made_set / "clean" / "ledger.jsonl")
    assert count(ledger)["not-in-split"] == 4


def test_zip_folder_workers_and_order_give_the_same_bytes(run, made_set):
    run("--output", "folder", "--performance-input")
    zip_of(made_set / "segment_midi.zip", made_set / "midi", "top/deep/")
    assert run("--output", "zip", "--performance-input", "--workers", 2, midi="segment_midi.zip")[0] == 0
    a, b = (tree(made_set / name) for name in ("folder", "zip"))
    for path in ("0/classes.json", "ledger.jsonl"):  # they name the source
        assert a.pop(path) != b.pop(path)
    assert a == b
    assert {path for path in a if path.endswith(".npy")} == {f"0/{part}.performance.npy" for part in PARTS}


def test_defaults_find_files_here_and_in_data(run, made_set):
    (made_set / "data").mkdir()
    (made_set / "labels.json").rename(made_set / "data" / "midi_label_map_apex_reg_cls.json")
    zip_of(made_set / "data" / "segmented_midi.zip", made_set / "midi", "segmented_midi/")
    assert run(labels=None, midi=None)[0] == 0
    assert len(check_fold(made_set / "xai_data_raw_apex_reg_cls" / "0")["test"].ids) == 8


def test_folds_file(run, made_set):
    names = list(json.loads((made_set / "labels.json").read_text()))[:36]
    (made_set / "f.json").write_text(json.dumps({"mine": {"train": names[6:], "test": names[:6]}}))
    status, last, _ = run("--output", "raw", "--folds-file", "f.json:mine", "--valid", "none")
    assert (status, last[:30]) == (0, "36 written (30 train, 6 test),")


def test_zero_offset_and_neutral_clock(run, made_set):
    run("--output", "raw", "--bar-offset", "zero", "--neutralise-tempo-metre")
    for line in (made_set / "raw" / "0" / "train.txt").read_text().split("\n")[:-1]:
        rows = line_to_rows(line)
        assert rows[0, :2].tolist() == [0, 0]
        assert set(rows[:, 6]) == {9}
        assert set(rows[:, 7]) == {35}


def test_output_is_not_replaced_without_being_asked(run, made_set):
    run("--output", "raw")
    before = tree(made_set / "raw")
    status, _, errors = run("--output", "raw", "--seed", 8)
    assert status == 2
    assert "[output-exists]" in errors
    assert "--overwrite" in errors
    assert tree(made_set / "raw") == before
    assert run("--output", "raw", "--seed", 8, "--overwrite")[0] == 0
    assert tree(made_set / "raw") != before
    (made_set / "mine").mkdir()
    (made_set / "mine" / "thesis.tex").write_text("")
    assert "[output-not-ours]" in run("--output", "mine", "--overwrite")[2]


def empty_zip(folder):
    zipfile.ZipFile(folder / "x.zip", "w").close()


def nested_zip(folder):
    zip_of(folder / "inner.zip", folder / "midi")
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.write(folder / "inner.zip", "inner.zip")


def damaged_zip(folder):
    zip_of(folder / "x.zip", folder / "midi")
    (folder / "x.zip").write_bytes((folder / "x.zip").read_bytes()[:-100])


def other_names(folder):
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("Bach_BWV1_8bars_1_01.mid", b"")


def nothing_readable(folder):
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("Schubert_D960_mv2_8bars_1_01.mid", b"MThd")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (empty_zip, "empty-archive"),
        (nested_zip, "nested-archive"),
        (lambda folder: (folder / "x.zip").write_text("hello"), "not-an-archive"),
        (damaged_zip, "damaged-archive"),
        (other_names, "no-match"),
        (nothing_readable, "nothing-readable"),
        (lambda folder: None, "not-found"),
    ],
)
def test_bad_midi_source_is_one_clear_error_and_leaves_nothing(run, made_set, make, reason):
    make(made_set)
    before = sorted(made_set.iterdir())
    status, _, errors = run("--output", "raw", midi="x.zip")
    assert status == 2
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert f"[{reason}]" in errors
    assert "x.zip" in errors
    assert sorted(made_set.iterdir()) == before


def test_bad_files_are_ledger_entries(run, made_set):
    midi = made_set / "midi"
    names = [f"Schubert_D960_mv2_8bars_{performer}_01" for performer in ("Score", "1", "2", "12")]
    (midi / f"{names[0]}.mid").write_bytes(b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0")
    (midi / f"{names[1]}.mid").write_bytes(b"")
    (midi / f"{names[2]}.mid").write_bytes(b"RIFF" * 9)
    (midi / "more.zip").write_bytes(b"")
    zip_of(made_set / "x.zip", midi)
    stored = (midi / f"{names[3]}.mid").read_bytes()
    with zipfile.ZipFile(made_set / "x.zip", "w") as archive:
        for file in midi.iterdir():
            archive.write(file, file.name)
    content = (made_set / "x.zip").read_bytes()
    (made_set / "x.zip").write_bytes(content.replace(stored, stored[:-1] + b"\1"))
    status, last, _ = run("--output", "raw", midi="x.zip")
    assert status == 0
    assert last.endswith(
        "5 unreadable (1 bad-checksum, 1 empty-file, 1 nested-archive, 1 no-notes, 1 unreadable) "
        "of 38 MIDI files"
    )
    outcomes = {each.name: each.outcome for each in read_ledger(made_set / "raw" / "ledger.jsonl")}
    assert [outcomes[name] for name in names] == ["no-notes", "empty-file", "unreadable", "bad-checksum"]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"a": [0.5, 0], "b": [0.5]}', '{"a": [3.5, 0]}'])
def test_bad_label_map_is_one_clear_error(run, made_set, text):
    (made_set / "bad.json").write_text(text)
    status, _, errors = run("--output", "raw", labels="bad.json")
    assert status == 2
    assert errors.startswith("error: ")
    assert "bad.json" in errors
    assert not (made_set / "raw").exists()


def test_output_that_cannot_be_made(run, made_set):
    (made_set / "file").write_text("")
    status, _, errors = run("--output", "file/raw")
    assert status == 2
    assert "[cannot-write]" in errors


@pytest.mark.parametrize(
    "arguments", [["--workers", "0"], ["--folds", "0"], ["--seed", "-1"], ["--split", "x"]]
)
def test_bad_options(run, arguments):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_kill_leaves_no_data_set_and_the_next_run_is_as_if_nothing_had_happened(run, root, made_set):
    labels = json.loads((made_set / "labels.json").read_text())
    for file in sorted((made_set / "midi").glob("*_01.mid")):
        for copy in range(60):  # enough work to be killed in the middle of it
            name = f"x{copy}_{file.stem}"
            shutil.copy(file, made_set / "midi" / f"{name}.mid")
            labels[name] = labels[file.stem]
    (made_set / "labels.json").write_text(json.dumps(labels))
    assert run("--output", "whole")[0] == 0
    command = [sys.executable, str(root / "gen_xai.py"), "--labels", "labels.json", "--midi", "midi"]
    command += ["--output", "killed"]
    with subprocess.Popen(command, cwd=made_set, env={**os.environ, "PYTHONPATH": str(root)}) as process:
        while not (made_set / ".killed.partial").exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (made_set / "killed").exists()
    assert (made_set / ".killed.partial").exists()
    assert run("--output", "killed")[0] == 0
    assert tree(made_set / "killed") == tree(made_set / "whole")
    assert not (made_set / ".killed.partial").exists()


def test_means_and_raters_go_with_the_labels_into_the_data_bin(run, made_set):
    from musicbert.annotation.label_map import LabelMap
    from musicbert.corpus.labelled import RatingBin
    from musicbert.corpus.labelled.binarize import binarize

    labels = LabelMap.load(made_set / "labels.json")
    means, counts = labels.values / 2, np.arange(labels.values.size).reshape(labels.values.shape) % 4
    replace(labels, means=means, n_raters=counts).save(made_set / "labels.json")
    assert run("--output", "raw", "--valid", "none")[0] == 0
    binarize("raw", "bin", direct=True)
    data = RatingBin("bin/0")
    np.testing.assert_allclose(data.label("means"), data.label("ratings") / 2, rtol=1e-6)
    place = {name: index for index, name in enumerate(labels.ids)}
    known = [counts[place[name.partition("#")[0]]] for name in data.names]
    np.testing.assert_allclose(data.raters, [row[row > 0].mean() for row in known])
    assert set(data.labels) == {"ratings", "performer"}
