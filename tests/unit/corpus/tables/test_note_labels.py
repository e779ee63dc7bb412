"""Whatever a table says of a note is compared with the music."""

import json

import numpy as np
import pandas as pd
import pytest

from musicbert.corpus.tables.kinds import find_columns
from musicbert.corpus.tables.note_labels import label_notes, note_entries
from musicbert.errors import DatasetError
from musicbert.midi import Score

#: a chord out of order, and a note of another tempo: file order differs from order by onset and pitch
SCORE = Score(
    ticks_per_beat=480,
    onset=np.array([0, 0, 480, 1920]),
    offset=np.array([240, 480, 960, 2400]),
    pitch=np.array([64, 60, 67, 72]),
    velocity=np.array([70, 71, 72, 73]),
    program=np.array([0, 0, 5, 5]),
    drum=np.array([False, False, False, False]),
    track=np.array([0, 0, 1, 1]),
    tempo_tick=np.array([0]),
    tempo_bpm=np.array([60.0 * 2]),
)
RIGHT = {
    "note": [0, 1, 2, 3],
    "onset": [0.0, 0.0, 1.0, 4.0],
    "end": [0.5, 1.0, 2.0, 5.0],
    "duration": [0.5, 1.0, 1.0, 1.0],
    "pitch": [64, 60, 67, 72],
    "velocity": [70, 71, 72, 73],
    "program": [0, 0, 5, 5],
    "bar": [0, 0, 0, 1],
    "label": ["a", "b", "c", "d"],
}


def labels_of(columns, score=SCORE, **how):
    table = pd.DataFrame({"file": ["x"] * len(columns["label"]), **columns}, dtype=object)
    entries, labels = note_entries(table, find_columns(table), None, None)
    return [labels.classes[k] if k >= 0 else "" for k in label_notes(entries["x"], score, labels, **how)]


def said(columns, **how):
    with pytest.raises(DatasetError) as caught:
        labels_of(columns, **how)
    assert caught.value.reason == "contradiction", caught.value
    return str(caught.value)


def test_what_agrees_is_taken():
    assert labels_of(RIGHT) == ["a", "b", "c", "d"]
    assert labels_of({**RIGHT, "bar": [1, 1, 1, 2]}) == ["a", "b", "c", "d"]  # bars may count from 1
    rounded = {**RIGHT, "onset": [0.01, 0, 0.99, 4], "velocity": ["70", None, "", 73]}
    assert labels_of(rounded) == ["a", "b", "c", "d"]
    some = {name: [column[3], column[0]] for name, column in RIGHT.items()}
    assert labels_of(some) == ["a", "", "", "d"]
    assert labels_of({name: column for name, column in some.items() if name != "note"}) == ["a", "", "", "d"]


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in ("note", "label")])
def test_every_column_is_compared(name):
    wrong = [value + 3 for value in RIGHT[name]]
    wrong[:2] = RIGHT[name][:2]
    if name == "bar":
        wrong = [0, 0, 5, 1]
    text = said({**RIGHT, name: wrong})
    heard = RIGHT[name][2]
    assert f"row 3 after the header: the table says {name} {wrong[2]:g}" in text
    assert f"note 2 of the file has {name} {heard:g}" in text


@pytest.mark.parametrize("name", ["note", "onset", "pitch", "velocity"])
def test_what_names_a_note_is_a_number(name):
    with pytest.raises(DatasetError, match="bad-label"):
        labels_of({**RIGHT, name: [*RIGHT[name][:3], "0_4"]})


def test_what_would_make_it_agree_is_said():
    later = {**RIGHT, "note": [1, 2, 3, 4]}
    some = {name: column[:3] for name, column in later.items()}
    assert "notes are counted from 0, and the table counts from 1" in said(some)
    swapped = {**RIGHT, "note": [1, 0, 2, 3]}
    assert "--note-order sorted" in said(swapped)
    assert labels_of(swapped, order="sorted") == ["a", "b", "c", "d"]
    names = ("note", "pitch", "onset", "label")
    seconds = {name: RIGHT[name] for name in names} | {"onset": [0, 0, 0.5, 2]}
    assert "--onset-unit seconds" in said(seconds)
    assert labels_of(seconds, unit="seconds") == ["a", "b", "c", "d"]
    assert "mend the column" in said({**RIGHT, "pitch": [64, 60, 68, 72]})


def test_of_equal_notes_that_with_the_same_velocity_is_meant():
    zeros = np.zeros(2, np.int64)
    double = Score(480, zeros, zeros + 480, zeros + 60, np.array([50, 90]), zeros, zeros > 0, zeros)
    columns = {"onset": [0, 0], "pitch": [60, 60], "velocity": [90, 50], "label": ["loud", "soft"]}
    assert labels_of(columns, double) == ["soft", "loud"]


def test_one_of_these_columns_may_be_the_label():
    columns = {name: RIGHT[name] for name in ("note", "pitch")} | {"label": RIGHT["velocity"]}
    assert labels_of(columns) == ["70", "71", "72", "73"]
    table = pd.DataFrame({"file": ["x"] * 4, "note": range(4), "velocity": RIGHT["velocity"]})
    entries, _ = note_entries(table, find_columns(table), None, None)
    assert list(entries["x"].columns) == ["note"]


def test_lists_beside_the_list_of_labels_are_compared():
    line = {"file": "x", "label": RIGHT["label"], "pitch": RIGHT["pitch"]}
    for pitch, good in ((RIGHT["pitch"], True), ([60, 64, 67, 72], False), ([64, 60, 67], None)):
        table = pd.DataFrame([json.loads(json.dumps({**line, "pitch": pitch}))])
        if good is None:
            with pytest.raises(DatasetError, match="4 labels and 3 values of 'pitch'"):
                note_entries(table, find_columns(table), None, None)
            continue
        entries, labels = note_entries(table, find_columns(table), None, None)
        if good:
            assert label_notes(entries["x"], SCORE, labels).tolist() == [0, 1, 2, 3]
        else:
            with pytest.raises(DatasetError, match="note 0 of the file has pitch 64"):
                label_notes(entries["x"], SCORE, labels)
