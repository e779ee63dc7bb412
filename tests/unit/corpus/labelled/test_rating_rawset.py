"""Reading a raw data set back: every disagreement between its files is one clear error."""

import json
import math

import numpy as np
import pytest

from musicbert.corpus.bins.databin import fold_folders
from musicbert.corpus.labelled.rating_rawset import check_fold, read_part
from musicbert.encoding import dictionary_text, rows_to_line
from musicbert.errors import DatasetError

NOTES = {"train": [2, 1, 3], "valid": [1], "test": [2]}


@pytest.fixture
def fold(tmp_path):
    folder = tmp_path / "raw" / "0"
    folder.mkdir(parents=True)
    (folder / "dict.txt").write_text(dictionary_text())
    classes = {"classes": ["a", "b"], "dimensions": [{"name": "x"}, {"name": "y"}]}
    (folder / "classes.json").write_text(json.dumps(classes))
    for part, notes in NOTES.items():
        lines = [rows_to_line(np.tile([[3, 0, 0, 60, 9, 16, 9, 35]], (n, 1))) for n in notes]
        (folder / f"{part}.txt").write_text("".join(line + "\n" for line in lines))
        (folder / f"{part}.label").write_text("".join(f"[0.5, null, {n % 2}]\n" for n in notes))
        (folder / f"{part}.id").write_text("".join(f"{part}_{k}\n" for k in range(len(notes))))
        np.save(folder / f"{part}.performance.npy", np.ones((sum(notes), 4), np.float32))
    return folder


def test_reads_what_is_there(fold):
    part = read_part(fold, "train")
    assert part.ids == ["train_0", "train_1", "train_2"]
    assert part.labels[:, 0].tolist() == [0.5] * 3
    assert all(math.isnan(each) for each in part.labels[:, 1])
    assert part.class_of.tolist() == [0, 1, 1]
    assert part.notes.tolist() == [2, 1, 3]
    assert part.performance.shape == (6, 4)


def test_parts_that_agree(fold):
    parts = check_fold(fold)
    assert {name: len(part.ids) for name, part in parts.items()} == {"train": 3, "valid": 1, "test": 1}
    assert {name: part.notes.sum() for name, part in parts.items()} == {"train": 6, "valid": 1, "test": 2}
    assert parts["test"].labels.shape == (1, 2)
    assert parts["test"].performance.shape == (2, 4)


def test_set_without_valid_part_and_performance_inputs(fold):
    for name in ("valid.txt", "valid.label", "valid.id", *(f"{part}.performance.npy" for part in NOTES)):
        (fold / name).unlink()
    parts = check_fold(fold)
    assert {name: len(part.ids) for name, part in parts.items()} == {"train": 3, "test": 1}
    assert all(part.performance is None for part in parts.values())


def append(name, text):
    def change(fold):
        with (fold / name).open("a") as file:
            file.write(text)

    return change


def write(name, content):
    return lambda fold: (fold / name).write_text(content)


def save(name, array):
    return lambda fold: np.save(fold / name, array)


LINE = "[0.5, null, 0]\n"
DAMAGE = {
    "label file too long": (append("train.label", LINE), "wrong-lines", "train.label"),
    "label file too short": (write("train.label", LINE * 2), "wrong-lines", "train.label"),
    "one id too many": (append("test.id", "more\n"), "wrong-lines", "test.label"),
    "last line cut": (write("test.label", LINE[:-1]), "bad-text", "test.label"),
    "empty file": (write("valid.txt", ""), "bad-text", "valid.txt"),
    "half a note": (write("test.txt", "<s> " * 8 + "<0-1> " + "</s> " * 7 + "\n"), "bad-text", "test.txt"),
    "no note": (write("test.txt", "<s> " * 8 + "</s> " * 7 + "\n"), "bad-text", "test.txt"),
    "other width": (write("train.label", LINE * 2 + "[0.5, 0]\n"), "bad-label", "train.label"),
    "not JSON": (write("test.label", "[0.5, nul, 0]\n"), "bad-label", "test.label"),
    "no array": (write("test.label", "3\n"), "bad-label", "test.label"),
    "class is no integer": (write("test.label", "[0.5, 0.5, 0.5]\n"), "bad-label", "test.label"),
    "rating outside 0-1": (write("test.label", "[0.5, 7, 0]\n"), "bad-label", "test.label"),
    "unknown class": (write("test.label", "[0.5, 0.5, 2]\n"), "bad-classes", "test.label"),
    "width of classes.json": (write("test.label", "[0.5, 0]\n"), "bad-classes", "test.label"),
    "same id twice": (write("train.id", "a\nb\na\n"), "bad-id", "train.id"),
    "empty id": (write("train.id", "a\n\nb\n"), "bad-id", "train.id"),
    "piece in two parts": (write("test.id", "train_1\n"), "leak", "0"),
    "other dictionary": (append("dict.txt", "<9-0> 0\n"), "wrong-dictionary", "dict.txt"),
    "no dictionary": (lambda fold: (fold / "dict.txt").unlink(), "not-found", "dict.txt"),
    "no test part": (lambda fold: (fold / "test.txt").unlink(), "not-found", "test.txt"),
    "no classes": (lambda fold: (fold / "classes.json").unlink(), "not-found", "classes.json"),
    "damaged classes": (write("classes.json", "{"), "bad-classes", "classes.json"),
    "a row a note": (
        save("test.performance.npy", np.ones((3, 4), np.float32)),
        "bad-performance",
        "test.performance.npy",
    ),
    "inputs of another width": (
        save("test.performance.npy", np.ones((2, 5), np.float32)),
        "bad-performance",
        "0",
    ),
    "inputs in some parts only": (
        lambda fold: (fold / "test.performance.npy").unlink(),
        "bad-performance",
        "0",
    ),
    "damaged inputs": (write("test.performance.npy", "x"), "bad-performance", "test.performance.npy"),
    "NaN in the inputs": (
        save("test.performance.npy", np.full((2, 4), np.nan, np.float32)),
        "bad-performance",
        "test.performance.npy",
    ),
}


@pytest.mark.parametrize(("change", "reason", "file"), DAMAGE.values(), ids=DAMAGE)
def test_each_disagreement_is_named(fold, change, reason, file):
    change(fold)
    with pytest.raises(DatasetError) as caught:
        check_fold(fold)
    assert caught.value.reason == reason
    assert caught.value.path.endswith(file)
    assert caught.value.hint


def test_folds_come_in_order(fold):
    for name in ("10", "2", "notes"):
        (fold.parent / name).mkdir()
        (fold.parent / name / "dict.txt").write_text("")
    assert list(fold_folders(fold.parent, marker="dict.txt")) == ["0", "2", "10"]


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_no_raw_set(tmp_path, where):
    with pytest.raises(DatasetError, match="do this") as caught:
        fold_folders(tmp_path / where, marker="dict.txt", hint="do this")
    assert caught.value.reason == "not-found"
