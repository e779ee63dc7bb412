"""A new study of ratings is one entry of a table; a new task of notes is a reader and its entry."""

import csv
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from musicbert.annotation.dimensions import RATING_SETS
from musicbert.annotation.labels import make_labels
from musicbert.annotation.rating_rows import all_ratings
from musicbert.annotation.selection import LabelOptions
from musicbert.annotation.splits import make_folds
from musicbert.annotation.table import read_ratings
from musicbert.corpus.labelled import open_labelled
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.readers import BENCHMARK, SOURCES
from musicbert.corpus.readers.benchmark import load_data_set, tasks_of
from musicbert.corpus.splits.task_folds import task_folds
from musicbert.errors import RatingError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new-data.md"
#: the two programs of the page
RATINGS, READER = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Write a file of code and import it; what it registers is taken out again."""
    monkeypatch.syspath_prepend(tmp_path)
    tables = (RATING_SETS, SOURCES, BENCHMARK)
    before = [dict(table) for table in tables]

    def write_and_import(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)

    yield write_and_import
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


def test_a_new_rating_study_is_one_file(add, tmp_path):
    add("jazz_ratings", RATINGS)
    path = tmp_path / "jazz.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["listener", "clip", "recording", "swing", "tight"])
        for number in range(1, 7):
            out.writerow(["a", f"1{number}", f"monk-blues-{number}.wav", 5, number % 5 + 1])
            out.writerow(["b", f"2{number}", f"evans-waltz-{number}.wav", 2, -1])
    table = read_ratings(path)
    assert (table.format, len(table), len(table.dimensions)) == ("jazz", 12, 2)
    labels, _ = make_labels(table, LabelOptions(label="mean"))
    assert labels.classes == ("monk", "evans")
    assert labels.values[:2, 0].tolist() == [1.0, 0.4]
    assert labels.dimensions[0].poles == "straight – swinging"
    assert "ratings / 5" in labels.meta()["scale"]
    cells, _ = make_labels(table, LabelOptions(label="apex", columns="full", zeros="cell"))
    assert np.isnan(cells.values[1, 1])
    assert len(all_ratings(table, LabelOptions(label="all"))[0]) == 12
    folds = make_folds("performer", labels.ids, valid="none", performers=["evans"])
    assert {name.split("-")[0] for name in folds["0"]["test"]} == {"evans"}
    path.write_text(path.read_text().replace(",5,", ",6,", 1))
    with pytest.raises(RatingError, match=r"not in 1\.\.5"):
        read_ratings(path)


def test_a_new_task_of_notes_is_one_reader_and_its_row(add, tmp_path):
    add("made_reader", READER)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(8):
        rng = np.random.default_rng(number)
        rows = [f"{k},{rng.integers(40, 80)},{k % 4 == 0:d}" for k in range(64)]
        (data / f"tune{number}.csv").write_text("onset,pitch,accent\n" + "\n".join(rows) + "\n")
    (row,) = tasks_of("tunes")
    loaded = load_data_set("tunes", data)
    assert not loaded.failed
    write_shards(loaded.pieces, "octuple", tmp_path / "shards", [row.task])
    shards = open_labelled(tmp_path / "shards")
    assert len(shards.names) == 8
    assert shards.note_labels("accent", 0).sum() == 16
    folds, _ = task_folds(shards, row.task, n_folds=2, share=0.25)
    assert {name for fold in folds.values() for name in fold["test"]} == set(shards.names)
